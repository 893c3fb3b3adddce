// Tabs in one or two panes with a divider between them. Content stays where it
// is in the document whatever pane it is shown in: a frame that moves loads anew,
// and a terminal would lose its screen.
import { AppWindow, Boxes, Code2, Globe, PanelLeft, PanelRight, Plus, TerminalSquare, X } from "lucide-react";
import { type CSSProperties, type KeyboardEvent, type ReactNode, useRef, useState } from "react";
import type { Play } from "../api/client";
import { IconButton, Menu, MenuItem, MenuLabel, cx } from "../ui";
import css from "./play.module.css";
import { type Machine, type Change, type OpenTab, type Pane, type Tabs, inPane, terminal, machinesOf } from "./tabs";

export const kindIcon = { terminal: TerminalSquare, ide: Code2, "http-port": AppWindow, "web-page": Globe, kexp: Boxes };

type Props = { play: Play; tabs: Tabs; apply: (c: Change) => void; content: (tab: OpenTab, shown: boolean, focus: boolean) => ReactNode };

export function Panes({ play, tabs, apply, content }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const [dragging, setDragging] = useState(false);
  const [last, setLast] = useState<Pane>("left");
  const two = inPane(tabs, "right").length > 0;
  const move = (x: number) => {
    const at = box.current!.getBoundingClientRect();
    apply({ do: "share", percent: ((x - at.left) / at.width) * 100 });
  };
  return (
    <div ref={box} className={cx(css["panes"], two && css["two"], dragging && css["dragging"])} style={{ "--share": `${tabs.share}%` } as CSSProperties}>
      <Strip pane="left" {...{ play, tabs, apply, two }} picked={() => setLast("left")} />
      {two && <Strip pane="right" {...{ play, tabs, apply, two }} picked={() => setLast("right")} />}
      {two && (
        <div
          className={css["divider"]}
          role="separator"
          aria-orientation="vertical"
          aria-label="Width of the panes"
          aria-valuenow={Math.round(tabs.share)}
          aria-valuemin={20}
          aria-valuemax={80}
          tabIndex={0}
          onPointerDown={(e) => {
            e.currentTarget.setPointerCapture(e.pointerId);
            setDragging(true);
          }}
          onPointerMove={(e) => dragging && move(e.clientX)}
          onLostPointerCapture={() => setDragging(false)} // let go, or interrupted
          onKeyDown={(e) => {
            const by = { ArrowLeft: -2, ArrowRight: 2 }[e.key];
            if (by) apply({ do: "share", percent: tabs.share + by });
          }}
        />
      )}
      {tabs.open.map((t) => {
        const shown = tabs.active[t.pane] === t.id;
        return (
          <div
            key={t.id}
            id={`panel-${t.id}`}
            role="tabpanel"
            aria-labelledby={`tab-${t.id}`}
            className={css["panel"]}
            data-pane={t.pane}
            hidden={!shown}
            onFocus={() => setLast(t.pane)}
          >
            {content(t, shown, last === t.pane)}
          </div>
        );
      })}
    </div>
  );
}

function Strip({ pane, play, tabs, apply, two, picked }: { pane: Pane; play: Play; tabs: Tabs; apply: (c: Change) => void; two: boolean; picked: () => void }) {
  const mine = inPane(tabs, pane);
  const active = tabs.active[pane];
  const show = (id: string) => {
    picked();
    apply({ do: "show", id });
  };
  const keys = (e: KeyboardEvent, at: number) => {
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: mine.length - 1 }[e.key];
    if (e.key === "Delete") apply({ do: "close", id: mine[at]!.id });
    const next = to === undefined ? undefined : mine[(to + mine.length) % mine.length];
    if (!next) return;
    e.preventDefault();
    show(next.id);
    document.getElementById(`tab-${next.id}`)?.focus();
  };
  return (
    <div className={css["strip"]} data-pane={pane}>
      <div className={css["stripTabs"]} role="tablist" aria-label={two ? `${pane === "left" ? "Left" : "Right"} pane` : "Tabs"}>
        {mine.map((t, at) => {
          const Icon = kindIcon[t.kind];
          return (
            <span key={t.id} className={css["tab"]} data-active={t.id === active || undefined}>
              <button
                type="button"
                role="tab"
                id={`tab-${t.id}`}
                aria-selected={t.id === active}
                aria-controls={`panel-${t.id}`}
                aria-keyshortcuts="Delete"
                tabIndex={t.id === active ? 0 : -1}
                onClick={() => show(t.id)}
                onAuxClick={(e) => e.button === 1 && apply({ do: "close", id: t.id })}
                onKeyDown={(e) => keys(e, at)}
              >
                <Icon size={15} aria-hidden /> <span>{t.name}</span>
              </button>
              {/* By keyboard and for screen readers it is Delete: a list of tabs has nothing but tabs. */}
              <button type="button" className={css["tabClose"]} tabIndex={-1} aria-hidden title={`Close ${t.name}`} onClick={() => apply({ do: "close", id: t.id })}><X size={13} /></button>
            </span>
          );
        })}
      </div>
      <div className={css["stripEnd"]}>
        <Menu align="start" trigger={<IconButton label="New terminal" size="small"><Plus size={16} /></IconButton>}>
          <MenuLabel>New terminal on</MenuLabel>
          {machinesOf(play).filter((m) => !m.noSSH).flatMap((m) => [undefined, ...others(m)].map((user) => (
            <MenuItem key={`${m.name} ${user}`} onSelect={() => { picked(); apply({ do: "add", tab: terminal(tabs, m.name, pane, user) }); }}>
              <TerminalSquare size={15} aria-hidden /> {user ? `${m.name} as ${user}` : m.name}
            </MenuItem>
          )))}
        </Menu>
        {active && (
          <IconButton
            label={pane === "left" ? "Move this tab to the right" : "Move this tab to the left"}
            size="small"
            disabled={pane === "left" && mine.length < 2}
            onClick={() => apply({ do: "move", id: active, pane: pane === "left" ? "right" : "left" })}
          >
            {pane === "left" ? <PanelRight size={16} /> : <PanelLeft size={16} />}
          </IconButton>
        )}
      </div>
    </div>
  );
}

/** Users beside the one that a terminal gets by itself. */
function others(m: Machine): string[] {
  const first = m.users?.find((u) => u.default)?.name ?? "root";
  return [...new Set([...(m.users ?? []).map((u) => u.name), "root"])].filter((name) => name !== first);
}
