import { useMutation, useQueryClient } from "@tanstack/react-query";
import { KeyRound } from "lucide-react";
import { type FormEvent, useState } from "react";
import { api, got } from "../../api/client";
import { Notice, TextField, ui } from "../../ui";
import { toast } from "../../ui/toast";
import { Answers, Change } from "./Change";

export function Password({ name }: { name: string }) {
  return (
    <Change title="Change password" icon={<KeyRound size={16} aria-hidden />}>
      {(done) => <Form name={name} done={done} />}
    </Change>
  );
}

function Form({ name, done }: { name: string; done: () => void }) {
  const [old, setOld] = useState("");
  const [next, setNext] = useState("");
  const [again, setAgain] = useState("");
  const [tried, setTried] = useState(false);
  const cache = useQueryClient();
  const change = useMutation({
    mutationFn: () => got(api.POST("/api/account/password", { body: { old, new: next } })),
    onSuccess: ({ ended }) => {
      void cache.invalidateQueries({ queryKey: ["sessions"] });
      void cache.invalidateQueries({ queryKey: ["tokens"] });
      toast(ended > 0 ? `The password is changed, and ${ended} other ${ended === 1 ? "session has" : "sessions have"} ended.` : "The password is changed.");
      done();
    },
  });
  const wrong = next.length < 10 ? "Take at least 10 characters." : null;
  const differs = again !== next ? "This is not the same." : null;
  const submit = (e: FormEvent) => {
    e.preventDefault();
    setTried(true);
    if (!wrong && !differs) change.mutate();
  };
  return (
    <form className={ui["form"]} onSubmit={submit}>
      {/* For password managers: whose password it is. */}
      <input type="text" name="username" autoComplete="username" value={name} readOnly hidden />
      <TextField label="Old password" type="password" value={old} onChange={(e) => setOld(e.target.value)} autoComplete="current-password" required autoFocus />
      <TextField label="New password" type="password" value={next} onChange={(e) => setNext(e.target.value)} autoComplete="new-password" required wrong={tried ? wrong : null} hint="At least 10 characters." />
      <TextField label="New password again" type="password" value={again} onChange={(e) => setAgain(e.target.value)} autoComplete="new-password" required wrong={tried && !wrong ? differs : null} />
      <Notice>Everywhere else you are signed out, and your access tokens end.</Notice>
      <Answers change={change} done={done} />
    </form>
  );
}
