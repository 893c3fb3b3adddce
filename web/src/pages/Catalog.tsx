import { useQuery } from "@tanstack/react-query";
import { Box, Plus, Search, SearchX } from "lucide-react";
import { ToggleGroup } from "radix-ui";
import { useEffect } from "react";
import { Link, useSearchParams } from "wouter";
import { type Playground, api, got } from "../api/client";
import { RequireUser } from "../session/RequireUser";
import { useMe } from "../session/useSession";
import { Badge, Button, Empty, Failure, Page, Skeleton, ui } from "../ui";
import { type Shelf, categoriesOf, find, hue, shelfOf, shelves, shownCover } from "./catalog";
import { Landing } from "./chunks";
import css from "./catalog.module.css";

const list = (filter: string | undefined) => got(api.GET("/api/playgrounds", { params: { query: filter ? { filter } : {} } }));

/** Everything that the user may list, each once: the official ones first. */
async function everything(): Promise<Playground[]> {
  const parts = await Promise.all([list(undefined), list("my-custom"), list("community")]);
  const seen = new Set<string>();
  return parts.flat().filter((p) => !seen.has(p.name) && seen.add(p.name));
}

export function Catalog() {
  return (
    <RequireUser>
      <Shelves />
    </RequireUser>
  );
}

function Shelves() {
  const me = useMe();
  const query = useQuery({ queryKey: ["catalog"], queryFn: everything });
  // In the address, so that a search can be kept as a link.
  const [params, setParams] = useSearchParams();
  const words = params.get("q") ?? "";
  const shelf = (params.get("shelf") ?? "all") as Shelf;
  const category = params.get("category") ?? "";
  const set = (key: string, value: string) =>
    setParams((before) => {
      const next = new URLSearchParams(before);
      if (value) next.set(key, value);
      else next.delete(key);
      return next;
    }, { replace: true });
  const found = query.data !== undefined;
  useEffect(() => {
    if (found) void Landing.ready();
  }, [found]);
  const all = query.data ?? [];
  const shown = find(all, words, shelf, category, me?.id);
  const filtered = Boolean(words || category || shelf !== "all");
  return (
    <Page title="Catalog" heading="What do you want to try?" lead="Pick a playground: real machines, ready in a moment, yours alone." actions={<Button asChild><Link href="/new"><Plus size={17} aria-hidden /> New playground</Link></Button>}>
      <div className={css["tools"]} role="search">
        <label className={css["search"]}>
          <Search size={17} aria-hidden />
          <span className="sr-only">Search playgrounds</span>
          <input className={ui["input"]} type="search" placeholder="Search" value={words} onChange={(e) => set("q", e.target.value)} maxLength={200} />
        </label>
        <ToggleGroup.Root type="single" className={ui["chips"]} value={shelf} onValueChange={(v) => set("shelf", v === "all" ? "" : v)} aria-label="Whose">
          {shelves.map(([value, name]) => <ToggleGroup.Item key={value} value={value} className={ui["chip"]}>{name}</ToggleGroup.Item>)}
        </ToggleGroup.Root>
        <div className={css["rule"]} aria-hidden />
        <ToggleGroup.Root type="single" className={ui["chips"]} value={category} onValueChange={(v) => set("category", v)} aria-label="Category">
          {categoriesOf(all).map((c) => <ToggleGroup.Item key={c} value={c} className={ui["chip"]}>{c}</ToggleGroup.Item>)}
        </ToggleGroup.Root>
      </div>
      <p className="sr-only" role="status">{query.isSuccess && `${shown.length} playgrounds`}</p>
      {query.error && !query.data && <Failure error={query.error} retry={() => void query.refetch()} />}
      {query.isPending && <ul className={css["grid"]} aria-label="Loading" aria-busy>{[...Array(6).keys()].map((i) => <li key={i} className={css["card"]}><Skeleton height={150} /><div className={css["text"]}><Skeleton width="55%" height={18} /><Skeleton height={38} /></div></li>)}</ul>}
      {query.isSuccess && shown.length === 0 && (
        <Empty
          icon={<SearchX size={34} aria-hidden />}
          title={filtered ? "Nothing matches" : "There are no playgrounds yet"}
          actions={<>{filtered && <Button onClick={() => setParams({}, { replace: true })}>Show all</Button>}{shelf === "mine" && !words && <Button look="primary" asChild><Link href="/new">New playground</Link></Button>}</>}
        >
          {shelf === "mine" && !words ? <>Playgrounds of your own appear here: write one, or save one from a play.</> : "Try fewer words, or another category."}
        </Empty>
      )}
      <ul className={css["grid"]}>
        {shown.map((p) => <li key={p.name} className={css["card"]}><PlaygroundCard playground={p} me={me?.id} /></li>)}
      </ul>
    </Page>
  );
}

function PlaygroundCard({ playground: p, me }: { playground: Playground; me: string | undefined }) {
  const shelf = shelfOf(p, me);
  return (
    <>
      <Cover playground={p} />
      <div className={css["text"]}>
        <h2><Link href={`/playgrounds/${encodeURIComponent(p.name)}`}>{p.title || p.name}</Link></h2>
        <p>{p.description || "No description."}</p>
        <div className={css["marks"]}>
          {shelf !== "official" && <Badge tone="accent">{shelf === "mine" ? "mine" : `by ${p.owner}`}</Badge>}
          {(p.categories ?? []).slice(0, 4).map((c) => <Badge key={c}>{c}</Badge>)}
        </div>
      </div>
    </>
  );
}

export function Cover({ playground: p }: { playground: Playground }) {
  const cover = shownCover(p.cover);
  if (cover) return <img className={css["cover"]} src={cover} alt="" width={320} height={180} decoding="async" />;
  const h = hue(p.name);
  return (
    <div className={css["cover"]} style={{ background: `linear-gradient(135deg, hsl(${h} 42% 46%), hsl(${(h + 40) % 360} 46% 34%))` }} aria-hidden>
      <Box size={42} strokeWidth={1.4} />
    </div>
  );
}
