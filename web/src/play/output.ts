// Output on its way from a terminal's WebSocket to the screen. A flood is shown
// in bursts, the rarer the longer it lasts, from two buffers that are used again
// and again: a screen that is drawn for nobody's eyes costs time and memory, and
// so does every message.

type Options = {
  /** Shows bytes, which stay as they are until it tells that it has. */
  write: (bytes: Uint8Array, done: () => void) => void;
  /** Tells up to which number of the stream's bytes all is shown, and that there is room. */
  shown: (end: number) => void;
};

/** What may be shown at once within a burst's time; who types never waits. */
const calm = 16 << 10;

/** What is shown without waiting any longer, however short the time. */
const much = 384 << 10;

/** Milliseconds from one burst of a flood to the next: in its beginning, and at last. */
const soon = 100;
const late = 1000;

export class Output {
  #o: Options;
  #filling = new Uint8Array(calm);
  #spare = new Uint8Array(calm);
  #n = 0;
  #end = 0;
  #showing = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #burst = soon;
  #began = -soon;
  #since = 0; // shown since then
  #spent: ArrayBuffer[] = [];
  #spentBytes = 0;

  constructor(options: Options) {
    this.#o = options;
  }

  /** Bytes that wait to be shown. */
  get waiting() {
    return this.#n;
  }

  /** Takes output; with the last of it the stream is at byte number end. */
  add(bytes: Uint8Array, end: number) {
    if (this.#n + bytes.length > this.#filling.length) {
      const wider = new Uint8Array(2 * (this.#n + bytes.length));
      wider.set(this.#filling.subarray(0, this.#n));
      this.#filling = wider;
    }
    this.#filling.set(bytes, this.#n);
    this.#n += bytes.length;
    this.#end = end;
    this.#show();
  }

  /** Takes a message whose bytes have been added: nobody may use it after. */
  spent(message: ArrayBuffer) {
    this.#spent.push(message);
    this.#spentBytes += message.byteLength;
    if (this.#spentBytes < calm) return;
    release(this.#spent);
    this.#spent = [];
    this.#spentBytes = 0;
  }

  /** Shows what waits, for somebody who did something: an answer may come. */
  hurry() {
    this.#burst = soon;
    if (!this.#timer) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#began = -soon;
    this.#show();
  }

  close() {
    clearTimeout(this.#timer);
    this.#n = 0;
  }

  #show() {
    if (this.#showing || this.#n === 0) return;
    const now = performance.now();
    const gone = now - this.#began;
    const flood = this.#since >= calm;
    if (flood && gone < this.#burst && this.#n < much) {
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        this.#show();
      }, this.#burst - gone);
      return;
    }
    if (flood || gone >= this.#burst) {
      this.#burst = flood && gone < 2 * this.#burst ? Math.min(late, this.#burst + 25) : soon;
      this.#began = now;
      this.#since = 0;
    }
    const [bytes, end] = [this.#filling.subarray(0, this.#n), this.#end];
    [this.#filling, this.#spare] = [this.#spare, this.#filling];
    this.#n = 0;
    this.#since += bytes.length;
    this.#showing = true;
    this.#o.write(bytes, () => {
      this.#showing = false;
      this.#o.shown(end);
      this.#show();
    });
  }
}

/**
 * Gives the memory of buffers back at once, by sending them where nobody is. To
 * the browser's collector a message is a small thing: it lets all fifty
 * megabytes of a long output pile up before it looks.
 */
export function release(buffers: ArrayBuffer[]) {
  const { port1, port2 } = new MessageChannel();
  port1.postMessage(null, buffers);
  port1.close();
  port2.close();
}
