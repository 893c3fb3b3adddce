// What happens to a play, or to jobs, as it happens: one WebSocket each that
// comes back by itself after a network cut, a restart of labd or an ended
// session. What it tells goes into the query cache, so that everything that
// shows the play is current.
import { replaceEqualDeep, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { type Job, type Play, ApiError, api, got, socketAddress } from "./client";
import { type Message, endedSince, isOver, latest, merge, mergeJobs, pause, stateOf } from "./fold";

export { isOver, stateOf };

export const playKey = (id: string) => ["play", id] as const;

export const fetchPlay = (id: string) => got(api.GET("/api/plays/{id}", { params: { path: { id } } }));

/** A play that stays current while the component is shown. */
export function usePlay(id: string) {
  const cache = useQueryClient();
  const query = useQuery({
    queryKey: playKey(id),
    queryFn: () => fetchPlay(id),
    // What labd replied may be older than what the connection has told since.
    structuralSharing: (known, play) => replaceEqualDeep(known, latest(known as Play | undefined, play as Play)),
  });
  const [live, setLive] = useState(false);
  const found = query.data !== undefined;
  // A stopped play may be restarted by somebody else, and is watched then.
  const over = found && isOver(stateOf(query.data));
  useEffect(() => {
    if (!found || over) return;
    const again = () => void cache.invalidateQueries({ queryKey: playKey(id) });
    return listen({
      ask: () => got(api.POST("/api/plays/{id}/conns", { params: { path: { id } } })),
      heard: (message) => cache.setQueryData<Play>(playKey(id), (play) => play && merge(play, message)),
      live: setLive,
      refused: again,
      over: again, // the play says whether so
    });
  }, [id, found, over, cache]);
  return { ...query, play: query.data, live };
}

export const jobsKey = ["jobs"] as const;

/** Builds and pulls, which stay current while the component is shown. */
export function useJobs(ended: () => void) {
  const cache = useQueryClient();
  const query = useQuery({ queryKey: jobsKey, queryFn: () => got(api.GET("/api/admin/jobs")) });
  const found = query.data !== undefined;
  const told = useRef(ended);
  told.current = ended;
  useEffect(() => {
    if (!found) return;
    return listen({
      ask: () => got(api.POST("/api/admin/jobs/conns")),
      heard: async (message) => {
        // A reply that is on its way may be older than this.
        await cache.cancelQueries({ queryKey: jobsKey });
        const before = cache.getQueryData<Job[]>(jobsKey) ?? [];
        const jobs = mergeJobs(before, message);
        cache.setQueryData(jobsKey, jobs);
        if (endedSince(before, jobs)) told.current();
      },
    });
  }, [found, cache]);
  return query;
}

type Listener = {
  /** Asks for the connection's address. */
  ask: () => Promise<{ url: string }>;
  heard: (message: Message) => void;
  live?: (is: boolean) => void;
  /** It may not be heard any more, and is not asked for again. */
  refused?: () => void;
  /** labd has closed it because nothing more will happen. */
  over?: () => void;
};

/** Hears what a connection tells, over cuts, until what it returns is called. */
function listen({ ask, heard, live, refused, over }: Listener): () => void {
  let ended = false;
  let socket: WebSocket | undefined;
  let timer: ReturnType<typeof setTimeout>;
  const again = (attempt: number) => {
    live?.(false);
    if (!ended) timer = setTimeout(() => void connect(attempt), pause(attempt));
  };
  const connect = async (attempt: number) => {
    let url: string;
    try {
      ({ url } = await ask());
    } catch (error) {
      if (error instanceof ApiError && error.kind !== "offline" && error.status < 500) return refused?.();
      return again(attempt + 1);
    }
    if (ended) return;
    let opened = false;
    socket = new WebSocket(socketAddress(url));
    socket.onopen = () => {
      opened = true;
      live?.(true);
    };
    socket.onmessage = (event) => heard(JSON.parse(String(event.data)) as Message);
    socket.onclose = (event) => {
      if (ended) return;
      if (event.code === 1000) over?.();
      again(opened && event.code !== 1000 ? 0 : attempt + 1);
    };
  };
  void connect(0);
  return () => {
    ended = true;
    clearTimeout(timer);
    socket?.close();
  };
}
