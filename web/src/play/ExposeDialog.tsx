// Ports that have an address of their own, and giving one to another.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Copy, ExternalLink, ScanSearch, Trash2 } from "lucide-react";
import { type FormEvent, useState } from "react";
import { type Play, api, got } from "../api/client";
import { Badge, Button, Dialog, Failure, IconButton, SelectField, TextField } from "../ui";
import { copy } from "../ui/copy";
import { toast, toastError } from "../ui/toast";
import { type Port, openPort } from "./PortTab";
import css from "./play.module.css";
import { machinesOf } from "./tabs";

type Props = { play: Play; open: boolean; onOpenChange: (open: boolean) => void };

export function ExposeDialog({ play, open, onOpenChange }: Props) {
  return (
    <Dialog open={open} onOpenChange={onOpenChange} width={620} title="Exposed ports" text="An application of a machine at an address of its own: for you alone, or for whoever has the address.">
      {open && <Exposed play={play} />}
    </Dialog>
  );
}

function Exposed({ play }: { play: Play }) {
  const cache = useQueryClient();
  const params = { path: { id: play.id } };
  const [machine, setMachine] = useState(machinesOf(play)[0]?.name ?? "");
  const [number, setNumber] = useState("");
  const [access, setAccess] = useState("private");
  const [tls, setTls] = useState(false);
  const key = ["ports", play.id];
  const ports = useQuery({ queryKey: key, queryFn: async () => (await got(api.GET("/api/plays/{id}/ports", { params }))) as Port[] });
  const scan = useMutation({ mutationFn: () => got(api.POST("/api/plays/{id}/ports/scan", { params })) });
  const expose = useMutation({
    mutationFn: () => got(api.POST("/api/plays/{id}/ports", { params, body: { machine, number: Number(number), access, tls } })),
    onSuccess: (port) => {
      void cache.invalidateQueries({ queryKey: key });
      toast(`Port ${port.number} of ${port.machine} is exposed.`);
      setNumber("");
    },
  });
  const remove = useMutation({
    mutationFn: (port: Port) => got(api.DELETE("/api/plays/{id}/ports/{port}", { params: { path: { id: play.id, port: port.id } } })),
    onSuccess: () => cache.invalidateQueries({ queryKey: key }),
    onError: toastError,
  });
  const submit = (e: FormEvent) => {
    e.preventDefault();
    expose.mutate();
  };
  return (
    <>
      <form onSubmit={submit} className={css["row"]}>
        <SelectField label="Machine" value={machine} onChange={(e) => setMachine(e.target.value)}>
          {machinesOf(play).map((m) => <option key={m.name}>{m.name}</option>)}
        </SelectField>
        <TextField label="Port" type="number" min={1} max={65535} required value={number} onChange={(e) => setNumber(e.target.value)} placeholder="8080" autoFocus />
        <SelectField label="Speaks" value={tls ? "https" : "http"} onChange={(e) => setTls(e.target.value === "https")}>
          <option value="http">HTTP</option>
          <option value="https">HTTPS</option>
        </SelectField>
        <SelectField label="Open to" value={access} onChange={(e) => setAccess(e.target.value)}>
          <option value="private">only me</option>
          <option value="public">everybody</option>
        </SelectField>
        <Button type="submit" look="primary" busy={expose.isPending}>Expose</Button>
      </form>
      {expose.error && <Failure error={expose.error} />}
      <div className={css["found"]}>
        <Button size="small" busy={scan.isPending} onClick={() => scan.mutate()}><ScanSearch size={15} aria-hidden /> Find listening ports</Button>
        {scan.data?.length === 0 && <span role="status">No port answers to HTTP or HTTPS just now.</span>}
        {scan.data?.map((p) => (
          <Button key={`${p.machine}:${p.number}`} size="small" onClick={() => { setMachine(p.machine); setNumber(String(p.number)); setTls(p.protocol === "HTTPS"); }}>
            {p.machine}:{p.number} <Badge>{p.protocol}</Badge>
          </Button>
        ))}
      </div>
      {scan.error && <Failure error={scan.error} />}
      {ports.error && <Failure error={ports.error} retry={() => void ports.refetch()} />}
      {ports.data && ports.data.length > 0 && (
        <ul className={css["list"]} aria-label="Exposed ports">
          {ports.data.map((p) => (
            <li key={p.id}>
              <div><strong>{p.machine}:{p.number}</strong> <Badge tone={p.access === "public" ? "warn" : undefined}>{p.access === "public" ? "everybody" : "only you"}</Badge><code>{p.url}</code></div>
              <IconButton label={`Copy the address of port ${p.number}`} size="small" onClick={() => void copy(p.url, "The address is copied.")}><Copy size={15} /></IconButton>
              <IconButton label={`Open port ${p.number}`} size="small" onClick={() => void openPort(play.id, p)}><ExternalLink size={15} /></IconButton>
              <IconButton label={`Expose port ${p.number} no more`} size="small" onClick={() => remove.mutate(p)}><Trash2 size={15} /></IconButton>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}
