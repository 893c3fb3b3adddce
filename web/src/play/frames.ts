// The messages of a terminal's WebSocket (docs/api.md); pure.
export const Frame = { stdin: 0, stdout: 1, stderr: 2, resize: 3, signal: 4, exit: 5, attached: 6, end: 7, ack: 8 } as const;

export type Attached = { from: number; upto: number; new?: boolean };
export type Exit = { code: number; error?: string; taken?: boolean };

/** The most that one message carries. */
const maxPayload = 64 << 10;

const utf8 = new TextEncoder();
const text = new TextDecoder();

export function frame(type: number, payload: Uint8Array = new Uint8Array()): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(1 + payload.length);
  out[0] = type;
  out.set(payload, 1);
  return out;
}

/** Input as messages: an empty one would mean the end of input. */
export function input(data: string): Uint8Array<ArrayBuffer>[] {
  const bytes = utf8.encode(data);
  const out = [];
  for (let at = 0; at < bytes.length; at += maxPayload) out.push(frame(Frame.stdin, bytes.subarray(at, at + maxPayload)));
  return out;
}

/**
 * Whether a terminal says this by itself, to output that asks: what it is, where
 * its cursor stands, its modes, settings and colours.
 */
export const isAnswer = (data: string) => /^\x1b(\[[?>=]?[\d;]*\$?[cnRty]$|[P\]][^])/.test(data);

export const resize = (rows: number, cols: number) => frame(Frame.resize, utf8.encode(JSON.stringify({ rows, cols })));

export function ack(taken: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(9);
  out[0] = Frame.ack;
  new DataView(out.buffer).setBigUint64(1, BigInt(taken));
  return out;
}

export const json = <T>(payload: Uint8Array): T => JSON.parse(text.decode(payload)) as T;

/** A name that nobody guesses; crypto.randomUUID is not there on plain HTTP. */
export function newSession(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}
