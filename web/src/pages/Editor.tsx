// Manifests as text: a new playground over a base, or one of the user's own.
// labd says what is wrong while it is written, each problem at its line.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Save, Trash2 } from "lucide-react";
import { Suspense, useEffect, useRef, useState } from "react";
import { Link, useLocation, useSearchParams } from "wouter";
import { ApiError, type Problem, api, got } from "../api/client";
import { Badge, Button, Failure, Page, SelectField, Skeleton, TextField, cx, ui } from "../ui";
import { chunk } from "../ui/chunk";
import { confirm, toast } from "../ui/toast";
import type { EditorHandle } from "./CodeEditor";
import css from "./editor.module.css";
import { tally, wordsOf } from "./editor";
import { refuseName } from "./names";

const CodeEditor = chunk(() => import("./CodeEditor"));

const manifestOf = (name: string, anew: boolean) =>
  got(api.GET("/api/playgrounds/{name}/manifest", { params: { path: { name }, query: anew ? { for: "new" } : {} } }));

/** A new playground; `?base=` says over which. */
export function NewPlayground() {
  const [params, setParams] = useSearchParams();
  const base = params.get("base") ?? "flexbox";
  const [name, setName] = useState("");
  const [tried, setTried] = useState(false);
  const [dirty, setDirty] = useState(false);
  const bases = useQuery({ queryKey: ["bases"], queryFn: () => got(api.GET("/api/bases")), staleTime: 300_000 });
  const text = useQuery({ queryKey: ["manifest", base, "new"], queryFn: () => manifestOf(base, true), staleTime: Infinity });
  const cache = useQueryClient();
  const [, go] = useLocation();
  const wrong = refuseName(name);
  const choose = (next: string) => {
    const set = () => setParams({ base: next }, { replace: true });
    if (!dirty) return set();
    confirm({ title: "Begin with another base?", text: "What you have written is replaced by the manifest of that base.", yes: "Begin anew", danger: true, run: async () => set() });
  };
  const known = (bases.data ?? []).map((b) => b.name);
  return (
    <Page title="New playground" lead="Write down the machines and networks of a lab; whoever you let may start it then.">
      <div className={css["fields"]}>
        <TextField label="Name" name="name" value={name} wrong={tried ? wrong : null} hint="Eight digits are added to it." onChange={(e) => setName(e.target.value)} spellCheck={false} autoCapitalize="none" autoComplete="off" />
        <SelectField label="Base" value={base} onChange={(e) => choose(e.target.value)} hint={base === "flexbox" ? "The blank one: machines of your own." : "Its machines stay; what they are may change."}>
          {!known.includes(base) && <option value={base}>{base}</option>}
          {(bases.data ?? []).map((b) => <option key={b.name} value={b.name}>{b.title || b.name}</option>)}
        </SelectField>
      </div>
      {text.error && !text.data && <Failure error={text.error} retry={() => void text.refetch()} actions={<Button size="small" asChild><Link href="/new">Begin with the blank base</Link></Button>} />}
      {text.isPending && <Skeleton height={420} />}
      {text.data && (
        <Write
          key={base}
          text={text.data.text}
          draft={{ base, ...(wrong ? {} : { name }) }}
          onDirty={setDirty}
          saveName="Create"
          ready={() => {
            setTried(true);
            if (wrong) document.querySelector<HTMLElement>('input[name="name"]')?.focus();
            return !wrong;
          }}
          save={async (definition) => {
            const made = await got(api.POST("/api/playgrounds", { body: { ...definition, name, base } as never }));
            void cache.invalidateQueries({ queryKey: ["catalog"] });
            void cache.invalidateQueries({ queryKey: ["plan"] });
            toast("The playground is there.");
            go(`/playgrounds/${encodeURIComponent(made.name)}`);
          }}
        />
      )}
    </Page>
  );
}

/** The manifest of a playground that is the user's to change. */
export function EditPlayground({ name }: { name: string }) {
  const text = useQuery({ queryKey: ["manifest", name], queryFn: () => manifestOf(name, false), staleTime: Infinity, gcTime: 0 });
  const cache = useQueryClient();
  const [, go] = useLocation();
  const page = `/playgrounds/${encodeURIComponent(name)}`;
  const remove = () =>
    confirm({
      title: `Remove ${name}?`, text: "Nobody can start it any more. Plays of it go on.", yes: "Remove", danger: true,
      run: async () => {
        await got(api.DELETE("/api/playgrounds/{name}", { params: { path: { name } } }));
        await cache.invalidateQueries({ queryKey: ["catalog"] });
        cache.removeQueries({ queryKey: ["playground", name] });
        toast("The playground is removed.");
        go("/?shelf=mine");
      },
    });
  return (
    <Page title={`Edit ${name}`} heading={<>Edit <span className={css["name"]}>{name}</span></>} lead={<Link href={page}>Back to its page</Link>} actions={<Button look="danger" onClick={remove}><Trash2 size={16} aria-hidden /> Remove</Button>}>
      {text.error && !text.data && <Failure error={text.error} retry={() => void text.refetch()} actions={<Button size="small" asChild><Link href="/">Go to the catalog</Link></Button>} />}
      {text.isPending && <Skeleton height={420} />}
      {text.data && (
        <Write
          text={text.data.text}
          draft={{ playground: name }}
          saveName="Save"
          ready={() => true}
          save={async (definition) => {
            await got(api.PUT("/api/playgrounds/{name}", { params: { path: { name } }, body: definition as never }));
            void cache.invalidateQueries({ queryKey: ["catalog"] });
            await cache.invalidateQueries({ queryKey: ["playground", name] });
            toast("Saved. Plays that run stay as they are.");
            go(page);
          }}
        />
      )}
    </Page>
  );
}

type WriteProps = {
  text: string;
  draft: { name?: string; base?: string; playground?: string };
  saveName: string;
  /** Says whether the rest of the form is right, and shows what is not. */
  ready: () => boolean;
  save: (definition: object) => Promise<void>;
  onDirty?: (dirty: boolean) => void;
};

function Write({ text: first, draft, saveName, ready, save, onDirty }: WriteProps) {
  const [text, setText] = useState(first);
  const editor = useRef<EditorHandle>(null);
  const saved = useRef(false);
  const dirty = text !== first;
  useEffect(() => onDirty?.(dirty), [dirty, onDirty]);
  // Leaving by the browser loses what is written; the browser asks.
  useEffect(() => {
    if (!dirty) return;
    const ask = (e: BeforeUnloadEvent) => !saved.current && e.preventDefault();
    window.addEventListener("beforeunload", ask);
    return () => window.removeEventListener("beforeunload", ask);
  }, [dirty]);
  const check = (now: string) => got(api.POST("/api/playgrounds/drafts", { body: { ...draft, text: now } }));
  const [settled, setSettled] = useState(first);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(text), 400);
    return () => clearTimeout(timer);
  }, [text]);
  const checked = useQuery({ queryKey: ["draft", draft, settled], queryFn: () => check(settled), gcTime: 30_000, placeholderData: (before) => before, retry: false });
  const saving = useMutation({
    mutationFn: async () => {
      const now = await check(text);
      if (!now.definition) {
        setSettled(text);
        const at = now.problems?.find((p) => p.severity !== "warning");
        if (at) editor.current?.goTo(at.line ?? 1, at.column ?? 1);
        throw new ApiError("it cannot be saved before its errors are mended", "invalid");
      }
      saved.current = true;
      try {
        await save(now.definition);
      } catch (error) {
        saved.current = false;
        throw error;
      }
    },
  });
  const problems: Problem[] = (settled === text && checked.data?.problems) || [];
  const shown: Problem[] = checked.data?.problems ?? [];
  const submit = () => {
    if (ready()) saving.mutate();
  };
  const said = tally(shown);
  return (
    <div className={css["write"]}>
      <div className={css["frame"]}>
        <Suspense fallback={<Skeleton height={420} />}>
          <CodeEditor ref={editor} label="Manifest" text={first} problems={problems} onChange={setText} onSave={submit} />
        </Suspense>
      </div>
      <div className={css["foot"]}>
        <span role="status" className={css["said"]}>
          {checked.isFetching && !checked.data ? "Checking…" : said ? <Badge tone={shown.some((p) => p.severity !== "warning") ? "bad" : "warn"}>{said}</Badge> : checked.data && <Badge tone="ok">no problems</Badge>}
        </span>
        <span className={ui["hint"]}>Ctrl+S saves; Escape, then Tab leaves the editor.</span>
        <Button look="primary" busy={saving.isPending} onClick={submit}><Save size={16} aria-hidden /> {saveName}</Button>
      </div>
      {checked.error && <Failure error={checked.error} retry={() => void checked.refetch()} />}
      {saving.error && <Failure error={saving.error} />}
      {shown.length > 0 && (
        <ul className={css["problems"]} aria-label="Problems">
          {shown.map((p, i) => (
            <li key={i}>
              <button type="button" className={cx(css["problem"], p.severity === "warning" && css["mild"])} onClick={() => editor.current?.goTo(p.line ?? 1, p.column ?? 1)}>
                <span className={css["line"]}>{p.line ? `line ${p.line}` : "manifest"}</span>
                <span>{p.severity === "warning" && <span className="sr-only">Warning: </span>}{wordsOf(p)}</span>
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
