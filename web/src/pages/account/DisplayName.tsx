import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Pencil } from "lucide-react";
import { type FormEvent, useState } from "react";
import { api, got } from "../../api/client";
import { TextField, ui } from "../../ui";
import { Answers, Change } from "./Change";

export function DisplayName({ now }: { now: string }) {
  return (
    <Change title="Change name" icon={<Pencil size={16} aria-hidden />}>
      {(done) => <Form now={now} done={done} />}
    </Change>
  );
}

function Form({ now, done }: { now: string; done: () => void }) {
  const [name, setName] = useState(now);
  const cache = useQueryClient();
  const change = useMutation({
    mutationFn: () => got(api.PATCH("/api/account/preferences", { body: { displayName: name } })),
    onSuccess: async () => {
      await cache.invalidateQueries({ queryKey: ["account"] });
      done();
    },
  });
  const submit = (e: FormEvent) => {
    e.preventDefault();
    change.mutate();
  };
  return (
    <form className={ui["form"]} onSubmit={submit}>
      <TextField label="What you are called" value={name} onChange={(e) => setName(e.target.value)} hint="Administrators see it, too. You sign in as before." autoComplete="name" maxLength={60} autoFocus />
      <Answers change={change} done={done} />
    </form>
  );
}
