import { expect, test } from "vitest";
import { nameOf, refuseName } from "./names";

test("names are made of titles", () => {
  expect(nameOf("  My Lab! (2) ")).toBe("my-lab-2");
  expect(nameOf("Café")).toBe("cafe");
  expect(nameOf("???")).toBe("");
  expect(nameOf("x".repeat(70))).toHaveLength(54);
});

test("what labd would refuse is refused", () => {
  for (const name of ["a", "my-lab", "0", "a".repeat(54)]) expect(refuseName(name), name).toBeNull();
  for (const name of ["", "-a", "a-", "My", "a b", "a_b", "é", "a".repeat(55)]) expect(refuseName(name), name).not.toBeNull();
});
