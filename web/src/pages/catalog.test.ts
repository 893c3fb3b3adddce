import { expect, test } from "vitest";
import type { Playground } from "../api/client";
import { categoriesOf, find, hue, shelfOf, shownCover } from "./catalog";

const all = [
  { name: "docker", owner: "", title: "Docker", description: "Containers on one machine", categories: ["containers", "linux"] },
  { name: "swarm", owner: "", title: "Swarm", description: "Docker on many machines", categories: ["containers", "networking"] },
  { name: "mine-1", owner: "ann", title: "A lab", categories: ["linux"] },
  { name: "other-2", owner: "bob" },
] as Playground[];

const names = (list: Playground[]) => list.map((p) => p.name);

test("shelves", () => {
  expect(all.map((p) => shelfOf(p, "ann"))).toEqual(["official", "official", "mine", "community"]);
  expect(names(find(all, "", "mine", "", "ann"))).toEqual(["mine-1"]);
  expect(names(find(all, "", "community", "", "ann"))).toEqual(["other-2"]);
});

test("all words must occur, and titles count more", () => {
  expect(names(find(all, "docker", "all", "", "ann"))).toEqual(["docker", "swarm"]);
  expect(names(find(all, "MACHINES docker", "all", "", "ann"))).toEqual(["swarm"]);
  expect(names(find(all, "docker nothing", "all", "", "ann"))).toEqual([]);
  expect(names(find(all, "  ", "all", "", "ann"))).toEqual(names(all));
});

test("categories, the most used first", () => {
  expect(categoriesOf(all)).toEqual(["containers", "linux", "networking"]);
  expect(names(find(all, "", "all", "linux", "ann"))).toEqual(["docker", "mine-1"]);
});

test("covers never lead to another server", () => {
  expect(shownCover("data:image/svg+xml,%3Csvg/%3E")).toBeTruthy();
  for (const cover of ["https://evil.example/a.png", "//evil.example/a.png", "data:text/html,<script>", "javascript:alert(1)", "", undefined]) expect(shownCover(cover)).toBeUndefined();
});

test("hues stay", () => expect(hue("docker")).toBe(hue("docker")));
