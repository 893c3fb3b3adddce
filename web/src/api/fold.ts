// What messages make of a play; pure.
import type { Play, PlayStatus, PlayTask } from "./client";

export type Message = { kind: "status"; status: PlayStatus } | { kind: "task"; task: PlayTask };

export const stateOf = (play: Play | undefined): string => play?.status?.stateEvents?.at(-1)?.state ?? "";

/** States after which nothing more happens by itself. */
export const isOver = (state: string) => ["STOPPED", "DESTROYED", "FAILED"].includes(state);

/** One message folded into a play. */
export function merge(play: Play, message: Message): Play {
  if (message.kind === "status") return { ...play, status: message.status };
  if (message.kind !== "task") return play;
  const known = play.tasks[message.task.name];
  if (known && known.version > message.task.version) return play;
  return { ...play, tasks: { ...play.tasks, [message.task.name]: message.task } };
}

/** Pause before the next attempt, in milliseconds: quick first, then patient. */
export const pause = (attempt: number) => Math.min(250 * 2 ** attempt, 8000);
