// What can be kept of a play: a playground made of it, or a second play with
// its drives. Both need it stopped, so a play that runs is stopped first, and
// its page goes on from there: `?keep=` says with what.
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useLocation, useSearchParams } from "wouter";
import { type Play, act, api, got } from "../api/client";
import { playKey } from "../api/events";
import { Button, Dialog, Failure, TextField, ui } from "../ui";
import { confirm } from "../ui/toast";
import { nameOf, refuseName } from "./names";

export type Keep = "save" | "fork";

const titleOf = (p: Play) => p.title || p.playground.title || p.playground.name;

/** Stops the play if it runs, after asking, and goes to where the dialog is. */
export function useKeep() {
  const [, go] = useLocation();
  const cache = useQueryClient();
  return (play: Play, what: Keep, stopped: boolean) => {
    const there = () => go(`/plays/${play.id}?keep=${what}`);
    if (stopped) return there();
    confirm({
      title: what === "save" ? "Stop the play and save it?" : "Stop the play and fork it?",
      text: "Its drives can only be copied while its machines are shut down. You can start it again afterwards.",
      yes: "Stop it",
      run: async () => {
        cache.setQueryData(playKey(play.id), await act(play.id, "stop"));
        void cache.invalidateQueries({ queryKey: ["plays"] });
        there();
      },
    });
  };
}

/** The dialog that the address asks for, on the page of a stopped play. */
export function KeepDialog({ play }: { play: Play }) {
  const [params, setParams] = useSearchParams();
  const what = params.get("keep");
  const close = () => setParams((before) => {
    const next = new URLSearchParams(before);
    next.delete("keep");
    return next;
  }, { replace: true });
  if (what === "save") return <SaveDialog play={play} close={close} />;
  if (what === "fork") return <ForkDialog play={play} close={close} />;
  return null;
}

function SaveDialog({ play, close }: { play: Play; close: () => void }) {
  const [title, setTitle] = useState(titleOf(play));
  const [named, setNamed] = useState<string>();
  const [tried, setTried] = useState(false);
  const [, go] = useLocation();
  const cache = useQueryClient();
  const name = named ?? nameOf(title);
  const wrong = refuseName(name);
  const save = useMutation({
    mutationFn: () => got(api.POST("/api/plays/{id}/playgrounds", { params: { path: { id: play.id } }, body: { name, title } })),
    onSuccess: (made) => {
      void cache.invalidateQueries({ queryKey: ["catalog"] });
      go(`/playgrounds/${encodeURIComponent(made.name)}`);
    },
  });
  const submit = (e: FormEvent) => {
    e.preventDefault();
    setTried(true);
    if (!wrong) save.mutate();
  };
  return (
    <Dialog open onOpenChange={(open) => !open && close()} title="Save as a playground" text="Its machines, networks and tabs, with its drives as they are now. It is yours alone until you say otherwise; the play stays as it is.">
      <form className={ui["form"]} onSubmit={submit} noValidate>
        <TextField label="Title" value={title} onChange={(e) => setTitle(e.target.value)} autoFocus maxLength={120} />
        <TextField label="Name" value={name} wrong={tried ? wrong : null} hint="Eight digits are added to it." onChange={(e) => setNamed(e.target.value)} spellCheck={false} autoCapitalize="none" autoComplete="off" />
        {save.error && <Failure error={save.error} />}
        <div className={ui["answers"]}>
          <Button onClick={close}>Cancel</Button>
          <Button type="submit" look="primary" busy={save.isPending}>Save</Button>
        </div>
      </form>
    </Dialog>
  );
}

function ForkDialog({ play, close }: { play: Play; close: () => void }) {
  const [title, setTitle] = useState(`${titleOf(play)} (fork)`.slice(0, 200));
  const [, go] = useLocation();
  const cache = useQueryClient();
  const fork = useMutation({
    mutationFn: () => got(api.POST("/api/plays/{id}/forks", { params: { path: { id: play.id } }, body: { title } })),
    onSuccess: (made) => {
      cache.setQueryData(playKey(made.id), made);
      void cache.invalidateQueries({ queryKey: ["plays"] });
      go(`/plays/${made.id}`);
    },
  });
  const submit = (e: FormEvent) => {
    e.preventDefault();
    fork.mutate();
  };
  return (
    <Dialog open onOpenChange={(open) => !open && close()} title="Fork this play" text="A new play starts with copies of its drives. The two have nothing to do with each other from then on.">
      <form className={ui["form"]} onSubmit={submit}>
        <TextField label="Title of the new play" value={title} onChange={(e) => setTitle(e.target.value)} autoFocus required maxLength={200} />
        {fork.error && <Failure error={fork.error} />}
        <div className={ui["answers"]}>
          <Button onClick={close}>Cancel</Button>
          <Button type="submit" look="primary" busy={fork.isPending}>Fork</Button>
        </div>
      </form>
    </Dialog>
  );
}
