// A session that ended in the middle of something: every call that met it waits
// here while one dialog asks, and goes on when somebody has signed in.
type Answer = (signedIn: boolean) => void;

let waiting: Answer[] = [];
const listeners = new Set<() => void>();

/** Resolves to true when somebody has signed in again, false if they declined. */
export function askToSignIn(): Promise<boolean> {
  return new Promise((resolve) => {
    waiting.push(resolve);
    tell();
  });
}

/** Whether calls wait for a sign-in. */
export const asking = () => waiting.length > 0;

/** Lets the calls that wait go on, or fail. */
export function answer(signedIn: boolean) {
  const all = waiting;
  waiting = [];
  tell();
  for (const resolve of all) resolve(signedIn);
}

export function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

function tell() {
  for (const listener of listeners) listener();
}
