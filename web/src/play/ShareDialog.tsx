// Terminals that others may open, by an address of their own.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Copy, ExternalLink, Trash2 } from "lucide-react";
import { type FormEvent, useState } from "react";
import { type Play, type Schemas, api, got } from "../api/client";
import { Badge, Button, Dialog, Failure, IconButton, Notice, SelectField } from "../ui";
import { copy } from "../ui/copy";
import { toast, toastError } from "../ui/toast";
import css from "./play.module.css";
import { machinesOf } from "./tabs";

type Shell = Required<Schemas["Shell"]>;

type Props = { play: Play; open: boolean; onOpenChange: (open: boolean) => void };

export function ShareDialog({ play, open, onOpenChange }: Props) {
  return (
    <Dialog open={open} onOpenChange={onOpenChange} width={620} title="Share a terminal" text="Whoever opens the address gets a shell of their own on the machine, in the browser, without an account.">
      {open && <Shared play={play} />}
    </Dialog>
  );
}

function Shared({ play }: { play: Play }) {
  const cache = useQueryClient();
  const params = { path: { id: play.id } };
  const machines = machinesOf(play).filter((m) => !m.noSSH);
  const [machine, setMachine] = useState(machines[0]?.name ?? "");
  const users = [...new Set([...(machines.find((m) => m.name === machine)?.users ?? []).map((u) => u.name), "root"])];
  const [user, setUser] = useState("");
  const [access, setAccess] = useState("public");
  const key = ["shells", play.id];
  const shells = useQuery({ queryKey: key, queryFn: async () => (await got(api.GET("/api/plays/{id}/shells", { params }))) as Shell[] });
  const share = useMutation({
    mutationFn: async () => (await got(api.POST("/api/plays/{id}/shells", { params, body: { machine, user: user || users[0], access } }))) as Shell,
    onSuccess: (shell) => {
      void cache.invalidateQueries({ queryKey: key });
      void copy(shell.url).then(() => toast("The terminal is shared, and its address is copied."));
    },
  });
  const remove = useMutation({
    mutationFn: (shell: Shell) => got(api.DELETE("/api/plays/{id}/shells/{shell}", { params: { path: { id: play.id, shell: shell.id } } })),
    onSuccess: () => cache.invalidateQueries({ queryKey: key }),
    onError: toastError,
  });
  const submit = (e: FormEvent) => {
    e.preventDefault();
    share.mutate();
  };
  if (machines.length === 0) return <Notice>No machine of this play takes terminals: its manifest says noSSH.</Notice>;
  return (
    <>
      <form onSubmit={submit} className={css["row"]}>
        <SelectField label="Machine" value={machine} onChange={(e) => { setMachine(e.target.value); setUser(""); }}>
          {machines.map((m) => <option key={m.name}>{m.name}</option>)}
        </SelectField>
        <SelectField label="As" value={user || users[0]} onChange={(e) => setUser(e.target.value)}>
          {users.map((name) => <option key={name}>{name}</option>)}
        </SelectField>
        <SelectField label="Open to" value={access} onChange={(e) => setAccess(e.target.value)}>
          <option value="public">whoever has the address</option>
          <option value="private">only me</option>
        </SelectField>
        <Button type="submit" look="primary" busy={share.isPending}>Share</Button>
      </form>
      {access === "public" && <Notice tone="warn">A shell can do everything that its user can, until it is shared no more or the play ends.</Notice>}
      {share.error && <Failure error={share.error} />}
      {shells.error && <Failure error={shells.error} retry={() => void shells.refetch()} />}
      {shells.data && shells.data.length > 0 && (
        <ul className={css["list"]} aria-label="Shared terminals">
          {shells.data.map((s) => (
            <li key={s.id}>
              <div><strong>{s.user}@{s.machine}</strong> <Badge tone={s.access === "public" ? "warn" : undefined}>{s.access === "public" ? "whoever has the address" : "only you"}</Badge><code>{s.url}</code></div>
              <IconButton label={`Copy the address of the terminal on ${s.machine}`} size="small" onClick={() => void copy(s.url, "The address is copied.")}><Copy size={15} /></IconButton>
              <IconButton label={`Open the terminal on ${s.machine}`} size="small" onClick={() => window.open(s.url, "_blank", "noopener")}><ExternalLink size={15} /></IconButton>
              <IconButton label={`Share the terminal on ${s.machine} no more`} size="small" onClick={() => remove.mutate(s)}><Trash2 size={15} /></IconButton>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}
