// Names of playgrounds, as labd takes them; pure.

/** labd adds a hyphen and eight hex digits, and allows 63 characters in all. */
const most = 54;

/** Why a name cannot be used; null if it can. */
export function refuseName(name: string): string | null {
  if (!name) return "This is needed.";
  if (name.length > most) return `This is too long: write at most ${most} characters.`;
  if (!/^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/.test(name)) return "Write lower-case letters, digits and hyphens, beginning and ending with a letter or a digit.";
  return null;
}

/** A name made of a title: "My Lab!" is "my-lab". */
export const nameOf = (title: string) =>
  title.normalize("NFKD").toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, most).replace(/^-+|-+$/g, "");
