// The only way to labd: typed calls by the OpenAPI document, refusals as
// ApiError, and a session that ended in the middle is asked for and the call
// then repeated.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.gen";
import { askToSignIn } from "../session/ask";
import { reached, unreached } from "../session/online";

export type Schemas = components["schemas"];
export type Me = Schemas["Me"];
export type Job = Schemas["Job"];
export type Play = Schemas["Play"];
export type PlayTask = Schemas["PlayTask"];
export type PlayStatus = Schemas["PlayStatus"];
export type MachineStatus = Schemas["MachineStatus"];
export type Playground = Schemas["Playground"];
export type Problem = Schemas["Problem"];
export type Tab = Schemas["Tab"];
export type TaskDetails = Schemas["TaskDetails"];

/** What labd refused, in its own words, or that it could not be reached. */
export class ApiError extends Error {
  constructor(
    message: string,
    /** Of docs/api.md, or "offline" if there was no answer. */
    readonly kind: string,
    readonly status = 0,
    readonly problems: Problem[] = [],
  ) {
    super(message);
    this.name = "ApiError";
  }
}

/** The sentence to show for anything thrown. */
export function sentence(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.charAt(0).toUpperCase() + text.slice(1);
}

async function refusal(reply: Response): Promise<ApiError> {
  const text = await reply.text();
  try {
    const told = JSON.parse(text) as { error?: string; kind?: string; problems?: Problem[] };
    if (told.error) return new ApiError(told.error, told.kind ?? "internal", reply.status, told.problems ?? []);
  } catch {
    // a proxy's page, or plain text
  }
  return new ApiError(text.trim().slice(0, 300) || `the server answered ${reply.status}`, "internal", reply.status);
}

/** fetch that knows of sessions and networks; rejects with ApiError only. */
export async function send(request: Request, options: { ask?: boolean } = {}): Promise<Response> {
  for (;;) {
    let reply: Response;
    try {
      reply = await fetch(request.clone());
    } catch (error) {
      if (request.signal.aborted) throw error;
      unreached();
      throw new ApiError("labd cannot be reached; the page goes on as soon as it can", "offline");
    }
    if (reply.status === 502 || reply.status === 504) {
      // A proxy without labd behind it answers in its own words, not in JSON.
      if (!reply.headers.get("Content-Type")?.includes("json")) {
        unreached();
        throw new ApiError("labd cannot be reached; the page goes on as soon as it can", "offline", reply.status);
      }
    }
    reached();
    if (reply.ok) return reply;
    const error = await refusal(reply);
    if (reply.status === 401 && options.ask !== false) {
      if (await askToSignIn()) continue;
    }
    throw error;
  }
}

const client = createClient<paths>({
  baseUrl: location.origin,
  headers: { Accept: "application/json" },
  fetch: (request: Request) => send(request),
});

/** Typed calls: `const { data } = await api.GET("/api/plays/{id}", …)`; failures throw. */
export const api = client;

/** The data of a reply that succeeded: failures have thrown already. */
export async function got<T>(reply: Promise<{ data?: T }>): Promise<T> {
  return (await reply).data as T;
}

/** A call whose 401 is an answer rather than a reason to ask. */
export async function quietly<T>(method: string, path: string, body?: unknown): Promise<T> {
  const reply = await send(
    new Request(location.origin + path, {
      method,
      headers: { Accept: "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    }),
    { ask: false },
  );
  return (await reply.json()) as T;
}

/** WebSocket addresses in replies, at the origin that the page itself came from. */
export function socketAddress(url: string): string {
  const told = new URL(url, location.href);
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${told.pathname}${told.search}`;
}

export type ActionName =
  | "set_title" | "stop" | "restart" | "destroy" | "make_persistent" | "set_max_play_time"
  | "machine.reboot" | "machine.stop" | "machine.restart";

/** Changes a play or one of its machines, and returns the play. */
export async function act(id: string, action: ActionName, more: Partial<Schemas["Action"]> = {}): Promise<Play> {
  const reply = await got(api.POST("/api/plays/{id}/actions", { params: { path: { id } }, body: { action, ...more } }));
  return reply as Play;
}

/** The consoles of a machine, one per boot, the oldest first. */
export async function consoles(id: string, machine: string): Promise<string[]> {
  const reply = await got(api.POST("/api/plays/{id}/actions", { params: { path: { id } }, body: { action: "machine.console.list", machine } }));
  return (reply as Schemas["Consoles"]).consoles ?? [];
}

export async function readConsole(id: string, machine: string, console: string): Promise<string> {
  const reply = await got(
    api.POST("/api/plays/{id}/actions", { params: { path: { id } }, body: { action: "machine.console.read", machine, console } }),
  );
  return (reply as Schemas["Console"]).content;
}
