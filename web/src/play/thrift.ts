// xterm.js without what it does for each line of a flood although once would do:
// it moves the scrollbar and throws objects away, so many that the browser's
// collector widens its nursery by tens of megabytes. What is done here reaches
// into version 6.0.0; an xterm.js that looks different inside is left as it is.
import type { Terminal } from "@xterm/xterm";

type Line = {
  _data: Uint32Array;
  _combined: object; // characters of several code points, by column
  _extendedAttrs: object; // underlines and links, by column
  length: number;
  isWrapped: boolean;
  copyFrom: (line: Line) => void;
};

type Insides = {
  _core?: {
    buffer?: { lines?: { get?: (at: number) => Line | undefined } };
    _viewport?: { _sync?: (at?: number) => void };
  };
};

const insides = (t: Terminal) => (t as unknown as Insides)._core;

const known = ["_combined", "_data", "_extendedAttrs", "isWrapped", "length"];

const thrifty = new WeakSet<object>();

/**
 * Lets the oldest line of a full scrollback become the newest without new
 * objects for what it has none of. It tells whether it could.
 */
export function reuseLines(t: Terminal): boolean {
  const line = insides(t)?.buffer?.lines?.get?.(0);
  if (!line || Object.keys(line).sort().join() !== known.join()) return false;
  const kind = Object.getPrototypeOf(line) as Line;
  if (thrifty.has(kind)) return true;
  const copyFrom = kind.copyFrom;
  if (typeof copyFrom !== "function") return false;
  thrifty.add(kind);
  kind.copyFrom = function (this: Line, from: Line) {
    const plain = this.length === from.length && none(this._combined) && none(this._extendedAttrs) && none(from._combined) && none(from._extendedAttrs);
    if (!plain) return copyFrom.call(this, from);
    this._data.set(from._data);
    this.isWrapped = from.isWrapped;
  };
  return true;
}

function none(of: object): boolean {
  for (const _ in of) return false;
  return true;
}

/** A terminal's write that moves its scrollbar once, when all of it is shown. */
export function writer(t: Terminal): (bytes: Uint8Array, done: () => void) => void {
  let writing = false;
  let moved = false;
  let viewport: NonNullable<NonNullable<Insides["_core"]>["_viewport"]> | undefined;
  const hold = () => {
    const now = insides(t)?._viewport; // none before the terminal is open
    const sync = now?._sync;
    if (viewport || !now || !sync) return;
    viewport = now;
    now._sync = (at) => {
      if (writing) moved = true;
      else sync.call(now, at);
    };
  };
  return (bytes, done) => {
    hold();
    writing = true;
    t.write(bytes, () => {
      writing = false;
      if (moved && t.element?.isConnected) viewport?._sync?.();
      moved = false;
      done();
    });
  };
}
