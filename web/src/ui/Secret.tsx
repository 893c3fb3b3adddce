// Something that is shown once, to be copied.
import { Copy } from "lucide-react";
import { IconButton, ui } from ".";
import { copy } from "./copy";

/** name is what it is called in a sentence, like "the link". */
export function Secret({ name, value }: { name: string; value: string }) {
  const Name = name[0]!.toUpperCase() + name.slice(1);
  return (
    <div className={ui["secret"]}>
      <code tabIndex={0} aria-label={Name}>{value}</code>
      <IconButton label={`Copy ${name}`} onClick={() => void copy(value, `${Name} is copied.`)}><Copy size={17} /></IconButton>
    </div>
  );
}
