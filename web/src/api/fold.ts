// What messages make of a play, and of jobs; pure.
import type { Job, Play, PlayStatus, PlayTask } from "./client";

export type Message = { kind: "status"; status: PlayStatus } | { kind: "task"; task: PlayTask } | { kind: "jobs"; jobs: Job[] } | { kind: "job"; job: Job };

export const stateOf = (play: Play | undefined): string => play?.status?.stateEvents?.at(-1)?.state ?? "";

/** States after which nothing more happens by itself. */
export const isOver = (state: string) => ["STOPPED", "DESTROYED", "FAILED"].includes(state);

/** One message folded into a play. */
export function merge(play: Play, message: Message): Play {
  if (message.kind === "status") return { ...play, status: message.status };
  if (message.kind !== "task") return play;
  return { ...play, tasks: { ...play.tasks, [message.task.name]: newer(play.tasks[message.task.name], message.task) } };
}

/** A play as labd replied, but for what is known to have happened since. */
export function latest(known: Play | undefined, play: Play): Play {
  if (!known || known.id !== play.id) return play;
  const last = play.status?.stateEvents?.at(-1);
  const older = known.status?.stateEvents?.slice(0, -1).some((e) => e.at === last?.at && e.state === last.state);
  const tasks = Object.entries(play.tasks ?? {}).map(([name, task]) => [name, newer(known.tasks?.[name], task)] as const);
  return { ...play, status: older ? known.status : play.status, tasks: Object.fromEntries(tasks) };
}

/** Of two forms of a task, the later; its version rises with every change. */
const newer = (known: PlayTask | undefined, task: PlayTask) => (known && known.version > task.version ? known : task);

/** Whether something of a job is still to come. */
export const isOpen = (job: Job) => job.state === "waiting" || job.state === "running";

/** One message folded into jobs, the newest first. */
export function mergeJobs(jobs: Job[], message: Message): Job[] {
  if (message.kind === "jobs") return message.jobs;
  if (message.kind !== "job") return jobs;
  const { job } = message;
  return jobs.some((j) => j.id === job.id) ? jobs.map((j) => (j.id === job.id ? job : j)) : [job, ...jobs];
}

/** Whether one of the jobs that were open is not any more. */
export const endedSince = (before: Job[], jobs: Job[]) => before.some((b) => isOpen(b) && !jobs.some((j) => j.id === b.id && isOpen(j)));

/** Pause before the next attempt, in milliseconds: quick first, then patient. */
export const pause = (attempt: number) => Math.min(250 * 2 ** attempt, 8000);
