// A terminal on the screen: xterm.js, its search, and what is said when the
// connection is cut. Output is data: titles, clipboards and windows are not its.
import "@xterm/xterm/css/xterm.css";
import { FitAddon } from "@xterm/addon-fit";
import { SearchAddon } from "@xterm/addon-search";
import { Unicode11Addon } from "@xterm/addon-unicode11";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { Terminal } from "@xterm/xterm";
import { useEffect, useRef, useState } from "react";
import { Button, Spinner } from "../ui";
import { copy } from "../ui/copy";
import { useShownTheme } from "../ui/theme";
import { SearchBar } from "./SearchBar";
import { type LinkState, type Size, TerminalLink, refusal } from "./link";
import css from "./play.module.css";
import { terminalTheme } from "./termTheme";
import { reuseLines, writer } from "./thrift";

type Props = {
  /** For screen readers. */
  label: string;
  /** Asks for a WebSocket's address. */
  open: (seen: number, size: Size) => Promise<string>;
  /** Whether it is the one that is looked at. */
  shown: boolean;
  /** Takes the keyboard when it is shown. */
  focus: boolean;
  /** Whether its machine runs; when it does again, what was refused is asked for again. */
  up?: boolean;
  /** Starts over with a new shell. */
  restart: () => void;
  /** Gets what ends the shell, when the tab is closed. */
  onLink: (link: TerminalLink | undefined) => void;
};

const font = '"JetBrains Mono Variable", ui-monospace, monospace';

/** Links in output open beside the page, and know nothing of it. */
function follow(_: MouseEvent, uri: string) {
  if (/^https?:\/\//i.test(uri)) window.open(uri, "_blank", "noopener,noreferrer");
}

export function Screen({ label, open, shown, focus, up = true, restart, onLink }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const term = useRef<Terminal>(undefined);
  const fit = useRef<FitAddon>(undefined);
  const link = useRef<TerminalLink>(undefined);
  const [search, setSearch] = useState<SearchAddon>();
  const [searching, setSearching] = useState(0);
  const [state, setState] = useState<LinkState>({ kind: "connecting" });
  const theme = useShownTheme();
  const takes = shown && focus;
  const latest = useRef({ open, onLink, takes });
  latest.current = { open, onLink, takes };

  useEffect(() => {
    const holder = box.current!;
    const t = new Terminal({
      fontFamily: font, fontSize: 14, lineHeight: 1.15, scrollback: 10_000, allowProposedApi: true,
      theme: terminalTheme(document.documentElement.dataset["theme"] === "dark" ? "dark" : "light"),
      macOptionIsMeta: true, minimumContrastRatio: 3, linkHandler: { activate: follow },
    });
    const fitter = new FitAddon();
    const finder = new SearchAddon();
    t.loadAddon(fitter);
    t.loadAddon(finder);
    t.loadAddon(new WebLinksAddon(follow));
    t.loadAddon(new Unicode11Addon());
    t.unicode.activeVersion = "11";
    reuseLines(t);
    term.current = t;
    fit.current = fitter;
    setSearch(finder);
    const l = new TerminalLink({
      open: (seen, size) => latest.current.open(seen, size),
      write: writer(t),
      onState: setState,
    });
    link.current = l;
    latest.current.onLink(l);
    t.onData((data) => l.type(data));
    t.onBinary((data) => l.type(data));
    t.onResize(({ rows, cols }) => l.resize({ rows, cols }));
    t.attachCustomKeyEventHandler((e) => keys(e, t, () => setSearching((n) => n + 1)));
    let gone = false;
    const begin = () => {
      if (gone) return;
      t.open(holder);
      fitter.fit();
      l.start({ rows: t.rows, cols: t.cols });
      // Only now it can; not from who has begun to write elsewhere meanwhile.
      if (latest.current.takes && !document.activeElement?.matches("input, textarea, iframe")) t.focus();
    };
    // The width of characters is that of the font that is there when it opens.
    void Promise.race([document.fonts.load(`14px ${font}`), new Promise((r) => setTimeout(r, 1000))]).then(begin, begin);
    const watch = new ResizeObserver(() => holder.clientWidth > 0 && t.element && fitter.fit());
    watch.observe(holder);
    const online = () => l.again();
    window.addEventListener("online", online);
    return () => {
      gone = true;
      window.removeEventListener("online", online);
      watch.disconnect();
      latest.current.onLink(undefined);
      l.close();
      t.dispose();
    };
  }, []);

  useEffect(() => {
    if (term.current) term.current.options.theme = terminalTheme(theme);
  }, [theme]);
  const refused = state.kind === "refused";
  useEffect(() => {
    if (up && refused) link.current?.again();
  }, [up]); // only when it changes: a refusal for another reason stays one
  useEffect(() => {
    if (takes) term.current?.focus();
  }, [takes]);

  return (
    <div className={css["screen"]} role="region" aria-label={label} data-state={state.kind}>
      <div ref={box} className={css["xterm"]} />
      {searching > 0 && search && <SearchBar addon={search} asked={searching} close={() => { setSearching(0); term.current?.focus(); }} />}
      <Cut state={state} again={() => link.current?.again()} restart={restart} />
    </div>
  );
}

function Cut({ state, again, restart }: { state: LinkState; again: () => void; restart: () => void }) {
  if (state.kind === "open") return null;
  const more = {
    connecting: <><Spinner /> Connecting…</>,
    away: <><Spinner /> The connection is cut. The shell waits; this goes on by itself. <Button size="small" onClick={again}>Now</Button></>,
    taken: <>This terminal is open in another window. <Button size="small" onClick={again}>Use it here</Button></>,
    ended: <>{state.kind === "ended" && (state.error || `The shell has ended${state.code ? ` with ${state.code}` : ""}.`)} <Button size="small" look="primary" onClick={restart}>New shell</Button></>,
    refused: <>{refusal(state)} <Button size="small" onClick={again}>Try again</Button></>,
  }[state.kind];
  return <div className={css["cut"]} role="status" data-quiet={state.kind === "connecting" || undefined}>{more}</div>;
}

/** Keys that are the page's and not the shell's; false takes one away from it. */
function keys(e: KeyboardEvent, t: Terminal, find: () => void): boolean {
  if (e.type !== "keydown") return true;
  const mac = navigator.platform.startsWith("Mac");
  const mod = mac ? e.metaKey : e.ctrlKey && e.shiftKey;
  if (!mod) return true;
  switch (e.key.toLowerCase()) {
    case "c":
      if (!t.hasSelection()) return true;
      e.preventDefault();
      void copy(t.getSelection());
      return false;
    case "f":
      e.preventDefault();
      find();
      return false;
    case "v":
      return false; // the browser pastes by itself
  }
  return true;
}
