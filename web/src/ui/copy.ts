// The clipboard.
import { toast } from "./toast";

/** Copies text, also where the page came by plain HTTP. */
export async function copy(text: string, told?: string) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.style.position = "fixed";
    area.style.opacity = "0";
    (document.activeElement?.closest('[role="dialog"]') ?? document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  if (told) toast(told);
}
