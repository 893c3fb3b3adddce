// What machines use, over the last minutes that the page has looked.
import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { api, got } from "../api/client";
import { type MachineUsage, type Point, grow } from "./readings";

const every = 2000;

export function useUsage(play: string, on: boolean) {
  const { data: latest } = useQuery({
    queryKey: ["usage", play],
    queryFn: () => got(api.GET("/api/plays/{id}/usage", { params: { path: { id: play } } })),
    refetchInterval: every,
    enabled: on,
    retry: false,
  });
  const [state, setState] = useState({ last: new Map<string, MachineUsage>(), history: new Map<string, Point[]>() });
  useEffect(() => {
    if (!latest) return;
    setState(({ last, history }) => ({
      last: new Map(latest.map((m) => [m.machine, m])),
      history: new Map(latest.map((m) => [m.machine, grow(history.get(m.machine) ?? [], last.get(m.machine), m, Date.now())])),
    }));
  }, [latest]);
  return { latest, history: state.history };
}
