// A tab with a shell of a machine.
import { memo, useCallback } from "react";
import { api, got, socketAddress } from "../api/client";
import { Screen } from "./Screen";
import type { Size, TerminalLink } from "./link";
import type { OpenTab } from "./tabs";

type Props = {
  play: string;
  tab: OpenTab;
  shown: boolean;
  focus: boolean;
  up: boolean;
  restart: (id: string) => void;
  onLink: (id: string, link: TerminalLink | undefined) => void;
};

export const TerminalTab = memo(function TerminalTab({ play, tab, shown, focus, up, restart, onLink }: Props) {
  const { id, machine, user = "", session } = tab;
  const open = useCallback(
    async (seen: number, size: Size) => {
      const body = { machine, user, session, seen, tty: { term: "xterm-256color", ...size } };
      const reply = await got(api.POST("/api/plays/{id}/terminals", { params: { path: { id: play } }, body }));
      return socketAddress(reply.url);
    },
    [play, machine, user, session],
  );
  return (
    <Screen
      key={session}
      label={`Terminal ${tab.name}`}
      open={open}
      shown={shown}
      focus={focus}
      up={up}
      restart={useCallback(() => restart(id), [restart, id])}
      onLink={useCallback((link) => onLink(id, link), [onLink, id])}
    />
  );
});
