// What a machine's kernel and init said, boot by boot.
import { useQuery } from "@tanstack/react-query";
import { RefreshCw } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { consoles, readConsole } from "../api/client";
import { Button, Dialog, Failure, SelectField, Skeleton } from "../ui";
import css from "./play.module.css";

/** Consoles are a terminal's bytes; as text they are lines without its commands. */
export const plain = (text: string) =>
  // eslint-disable-next-line no-control-regex
  text.replace(/\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])/g, "").replace(/\r+\n/g, "\n").replace(/[\x00-\x08\x0b-\x1f\x7f]/g, "");

export function ConsoleDialog({ play, machine, close }: { play: string; machine: string; close: () => void }) {
  const end = useRef<HTMLPreElement>(null);
  const [picked, setPicked] = useState("");
  const list = useQuery({ queryKey: ["consoles", play, machine], queryFn: () => consoles(play, machine) });
  const name = picked || list.data?.at(-1) || "";
  const content = useQuery({ queryKey: ["console", play, machine, name], queryFn: () => readConsole(play, machine, name), enabled: name !== "" });
  useEffect(() => {
    end.current?.scrollTo(0, end.current.scrollHeight);
  }, [content.data]);
  const error = list.error ?? content.error;
  return (
    <Dialog open onOpenChange={(open) => !open && close()} width={960} title={`Console of ${machine}`} text="What the kernel and the machine's init have said.">
      <div className={css["row"]}>
        <SelectField label="Boot" value={name} onChange={(e) => setPicked(e.target.value)}>
          {(list.data ?? []).map((c, i) => <option key={c} value={c}>{i + 1}{i + 1 === list.data?.length ? " (the last)" : ""}</option>)}
        </SelectField>
        <Button onClick={() => void content.refetch()} busy={content.isFetching}><RefreshCw size={15} aria-hidden /> Read again</Button>
      </div>
      {error && <Failure error={error} />}
      {list.data?.length === 0 && <p>It has not been started yet.</p>}
      {content.data === undefined ? !error && <Skeleton height={320} /> : <pre ref={end} className={css["console"]} tabIndex={0}>{plain(content.data)}</pre>}
    </Dialog>
  );
}
