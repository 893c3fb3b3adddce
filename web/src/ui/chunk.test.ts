import { createElement, Suspense } from "react";
import { renderToString } from "react-dom/server";
import { expect, test } from "vitest";
import { chunk } from "./chunk";

const shown = (part: Parameters<typeof createElement>[0]) => renderToString(createElement(Suspense, { fallback: "waits" }, createElement(part)));

test("a chunk that was made ready is shown without waiting, one that was not is waited for", async () => {
  const part = chunk(async () => ({ default: () => "here" }));
  expect(shown(part)).toContain("waits");
  await part.ready();
  expect(shown(part)).toContain("here");
  expect(shown(part)).not.toContain("waits");
});

test("a chunk that could not be got while nobody needed it is asked for again", async () => {
  let asked = 0;
  const part = chunk(async () => {
    if (asked++ === 0) throw new Error("away");
    return { default: () => "here" };
  });
  await part.ready();
  expect(shown(part)).toContain("waits");
  await part.ready();
  expect(shown(part)).toContain("here");
});
