// Output in bursts: what a person types is echoed at once, but a flood is shown
// some thirty times a second. Each time costs the browser a screen of elements,
// and those of a hundred frames a second pile up faster than it clears them away.
type Write = (bytes: Uint8Array, done: () => void) => void;

/** How long a burst is gathered, in milliseconds, and how much is let through before. */
const gather = 30;
const free = 16 << 10;

export class Pace {
  #write: Write;
  #waiting: [Uint8Array, () => void][] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #let = 0;

  constructor(write: Write) {
    this.#write = write;
  }

  write: Write = (bytes, done) => {
    if (this.#let >= free) return void this.#waiting.push([bytes, done]);
    this.#let += bytes.length;
    this.#timer ??= setTimeout(this.#burst, gather);
    this.#write(bytes, done);
  };

  /** Forgets what waits. */
  end() {
    clearTimeout(this.#timer);
    this.#waiting = [];
  }

  #burst = () => {
    const waited = this.#waiting;
    this.#waiting = [];
    this.#let = 0;
    this.#timer = undefined;
    if (waited.length === 0) return;
    this.#timer = setTimeout(this.#burst, gather);
    for (const [bytes, done] of waited) {
      this.#let += bytes.length;
      this.#write(bytes, done);
    }
  };
}
