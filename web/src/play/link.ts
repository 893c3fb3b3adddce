// One terminal of a machine, over any number of WebSockets: after a network cut
// or a restart of labd it goes on with the same shell, where its output stopped.
//
//	connecting ─▶ open ─cut─▶ away ─▶ connecting …
//	                └─▶ ended (the shell), taken (by another window), refused
import { ApiError, sentence } from "../api/client";
import { pause } from "../api/fold";
import { type Attached, type Exit, Frame, ack, frame, input, isAnswer, json, resize } from "./frames";
import { Output } from "./output";

export type LinkState =
  | { kind: "connecting" | "open" | "away" | "taken" }
  | { kind: "ended"; code: number; error?: string }
  | { kind: "refused"; error: unknown };

export type Size = { rows: number; cols: number };

type Options = {
  /** Asks for a WebSocket's address, to go on after so many bytes of output. */
  open: (seen: number, size: Size) => Promise<string>;
  /** Shows output, which stays as it is until it tells that it has. */
  write: (bytes: Uint8Array, done: () => void) => void;
  onState: (state: LinkState) => void;
};

/** Acknowledge after so much, or when there is nothing left to show. */
const ackEvery = 32 << 10;

/** What may wait for the screen; after that labd waits for it, too. */
const most = 512 << 10;

/** Words of the page's own between the output. */
const words = (text: string) => new TextEncoder().encode(`\r\n\x1b[0;2m── ${text}\x1b[0m\r\n`);

/** A WebSocket that could not even be opened for so long is a cut, too. */
const openFor = 15_000;

export class TerminalLink {
  #o: Options;
  #size: Size = { rows: 24, cols: 80 };
  #socket: WebSocket | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;
  #attempt = 0;
  #seen = 0; // number of the next byte of output
  #shown = 0; // the same, of what is on the screen
  #quiet = 0; // what comes before this byte is old: its queries are answered no more
  #output: Output;
  #acknowledge = () => {};

  constructor(options: Options) {
    this.#o = options;
    this.#output = new Output({
      write: options.write,
      shown: (end) => {
        this.#shown = end;
        this.#acknowledge();
      },
    });
  }

  start(size: Size) {
    this.#size = size;
    void this.#connect();
  }

  /** Asks at once, after a person's wish or when the network is back. */
  again() {
    if (this.#closed || this.#socket) return;
    clearTimeout(this.#timer);
    this.#attempt = 0;
    void this.#connect();
  }

  type(data: string) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    if (this.#shown < this.#quiet && isAnswer(data)) return; // the answer to what was asked once
    for (const message of input(data)) this.#socket.send(message);
    this.#output.hurry();
  }

  resize(size: Size) {
    this.#size = size;
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(resize(size.rows, size.cols));
  }

  /** Lets go of the shell, which waits for half an hour; with end it ends. */
  close(end = false) {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#output.close();
    const socket = this.#socket;
    if (!socket) return;
    if (end && socket.readyState === WebSocket.OPEN) socket.send(frame(Frame.end));
    socket.close();
  }

  #state(state: LinkState) {
    if (!this.#closed) this.#o.onState(state);
  }

  #later() {
    this.#socket = undefined;
    if (this.#closed) return;
    this.#state({ kind: "away" });
    this.#timer = setTimeout(() => void this.#connect(), pause(this.#attempt++));
  }

  async #connect() {
    this.#state({ kind: "connecting" });
    let url: string;
    try {
      url = await this.#o.open(this.#seen, this.#size);
    } catch (error) {
      if (error instanceof ApiError && (error.kind === "offline" || error.kind === "not yet" || error.kind === "too many" || error.status >= 500)) return this.#later();
      return this.#state({ kind: "refused", error });
    }
    if (this.#closed) return;
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    let [taken, acked] = [0, 0]; // of this WebSocket alone
    this.#acknowledge = () => {
      const { waiting } = this.#output;
      if (socket.readyState !== WebSocket.OPEN || taken === acked || waiting >= most) return;
      if (waiting > 0 && taken - acked < ackEvery) return;
      acked = taken;
      socket.send(ack(acked));
    };
    let over = false;
    const slow = setTimeout(() => socket.close(), openFor);
    socket.onopen = () => {
      clearTimeout(slow);
      this.#attempt = 0;
      this.#state({ kind: "open" });
      socket.send(resize(this.#size.rows, this.#size.cols));
    };
    socket.onmessage = (event) => {
      const message = new Uint8Array(event.data as ArrayBuffer);
      const payload = message.subarray(1);
      switch (message[0]) {
        case Frame.attached:
          return this.#attached(json<Attached>(payload));
        case Frame.stdout:
        case Frame.stderr:
          this.#seen += payload.length;
          taken += payload.length;
          this.#output.add(payload, this.#seen);
          this.#output.spent(message.buffer);
          return this.#acknowledge();
        case Frame.exit: {
          over = true;
          const exit = json<Exit>(payload);
          if (exit.taken) this.#state({ kind: "taken" });
          else this.#state({ kind: "ended", code: exit.code, error: exit.error });
        }
      }
    };
    socket.onclose = () => {
      clearTimeout(slow);
      if (this.#socket !== socket) return;
      this.#socket = undefined;
      if (!over) this.#later();
    };
  }

  #attached(at: Attached) {
    if (at.new && this.#seen > 0) this.#output.add(words("The shell had ended. This is a new one."), at.from);
    else if (this.#seen > 0 && at.from > this.#seen) this.#output.add(words(`${at.from - this.#seen} bytes of output that came meanwhile are lost.`), at.from);
    this.#seen = at.from;
    this.#quiet = at.new ? 0 : at.upto;
  }
}

export const refusal = (state: LinkState) => (state.kind === "refused" ? sentence(state.error) : "");
