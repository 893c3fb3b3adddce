import { expect, test } from "vitest";
import { left, minutes } from "./time";

test("durations", () => {
  expect([minutes("4h"), minutes("2h30m0s"), minutes("90m"), minutes("")]).toEqual([240, 150, 90, 0]);
  expect([left(-5), left(59_999), left(61_000), left(3_900_000), left(200 * 3_600_000)]).toEqual(["0 s", "59 s", "1 min", "1 h 05 min", "8 days"]);
});
