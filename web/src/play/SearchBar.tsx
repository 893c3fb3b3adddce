// Finds words in a terminal's output.
import type { SearchAddon } from "@xterm/addon-search";
import { ArrowDown, ArrowUp, X } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { IconButton, ui } from "../ui";
import css from "./play.module.css";

const marks = {
  matchBackground: "#c9863c", activeMatchBackground: "#f0894f", matchOverviewRuler: "#c9863c", activeMatchColorOverviewRuler: "#f0894f",
};

type Props = {
  addon: SearchAddon;
  /** How often it was asked for: with each time it takes the keyboard. */
  asked: number;
  close: () => void;
};

export function SearchBar({ addon, asked, close }: Props) {
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    input.current?.focus();
    input.current?.select();
  }, [asked]);
  const [words, setWords] = useState("");
  const [found, setFound] = useState<{ resultIndex: number; resultCount: number }>();
  useEffect(() => {
    const heard = addon.onDidChangeResults(setFound);
    return () => {
      heard.dispose();
      addon.clearDecorations();
    };
  }, [addon]);
  const find = (text: string, back = false, incremental = false) => {
    const options = { decorations: marks, incremental };
    if (back) addon.findPrevious(text, options);
    else addon.findNext(text, options);
  };
  return (
    <div className={css["search"]} role="search">
      <input
        className={ui["input"]}
        aria-label="Find in this terminal"
        placeholder="Find"
        value={words}
        ref={input}
        onChange={(e) => {
          setWords(e.target.value);
          find(e.target.value, true);
        }}
        onKeyDown={(e) => {
          if (e.key === "Escape") close();
          if (e.key === "Enter") find(words, !e.shiftKey);
        }}
      />
      <span className={css["count"]} aria-live="polite">
        {words && found ? (found.resultCount ? `${found.resultIndex + 1} of ${found.resultCount}` : "none") : ""}
      </span>
      <IconButton label="Further up" size="small" onClick={() => find(words, true)}><ArrowUp size={15} /></IconButton>
      <IconButton label="Further down" size="small" onClick={() => find(words)}><ArrowDown size={15} /></IconButton>
      <IconButton label="Close search" size="small" onClick={close}><X size={15} /></IconButton>
    </div>
  );
}
