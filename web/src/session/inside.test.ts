import { expect, test } from "vitest";
import { inside } from "./inside";

test.each([
  ["/plays/1?tab=2", "/plays/1?tab=2"],
  [null, "/"],
  ["", "/"],
  ["//evil.example/", "/"],
  ["/\\evil.example", "/"],
  ["https://evil.example/", "/"],
  ["javascript:alert(1)", "/"],
  ["/\t/evil.example", "/"],
  ["/login?next=/login", "/"],
  ["/logins", "/logins"],
])("%s leads to %s", (next, want) => expect(inside(next)).toBe(want));
