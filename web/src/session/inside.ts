/** A path of this page to go to, whatever an address asks for; never another site. */
export function inside(next: string | null): string {
  if (!next || !next.startsWith("/") || next.startsWith("//") || /[\\\s\u0000-\u001f]/.test(next)) return "/";
  return /^\/login(\?|$)/.test(next) ? "/" : next;
}
