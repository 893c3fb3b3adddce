// What happens to a play, as it happens: one WebSocket per play that comes back
// by itself after a network cut, a restart of labd or an ended session. What it
// tells goes into the query cache, so that everything that shows the play is
// current.
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { type Play, ApiError, api, got, socketAddress } from "./client";
import { type Message, isOver, merge, pause, stateOf } from "./fold";

export { isOver, stateOf };

export const playKey = (id: string) => ["play", id] as const;

export const fetchPlay = (id: string) => got(api.GET("/api/plays/{id}", { params: { path: { id } } }));

/** A play that stays current while the component is shown. */
export function usePlay(id: string) {
  const cache = useQueryClient();
  const query = useQuery({ queryKey: playKey(id), queryFn: () => fetchPlay(id) });
  const [live, setLive] = useState(false);
  const found = query.data !== undefined;
  // A stopped play may be restarted by somebody else, and is watched then.
  const over = found && isOver(stateOf(query.data));
  useEffect(() => {
    if (!found || over) return;
    let ended = false;
    let socket: WebSocket | undefined;
    let timer: ReturnType<typeof setTimeout>;
    const again = (attempt: number) => {
      setLive(false);
      if (!ended) timer = setTimeout(() => void connect(attempt), pause(attempt));
    };
    const connect = async (attempt: number) => {
      let url: string;
      try {
        url = (await got(api.POST("/api/plays/{id}/conns", { params: { path: { id } } }))).url;
      } catch (error) {
        if (error instanceof ApiError && error.kind !== "offline" && error.status < 500) {
          void cache.invalidateQueries({ queryKey: playKey(id) });
          return;
        }
        return again(attempt + 1);
      }
      if (ended) return;
      let opened = false;
      socket = new WebSocket(socketAddress(url));
      socket.onopen = () => {
        opened = true;
        setLive(true);
      };
      socket.onmessage = (event) => {
        const message = JSON.parse(String(event.data)) as Message;
        cache.setQueryData<Play>(playKey(id), (play) => play && merge(play, message));
      };
      socket.onclose = (event) => {
        if (ended) return;
        // 1000 means that nothing more will happen; the play says whether so.
        if (event.code === 1000) void cache.invalidateQueries({ queryKey: playKey(id) });
        again(opened && event.code !== 1000 ? 0 : attempt + 1);
      };
    };
    void connect(0);
    return () => {
      ended = true;
      clearTimeout(timer);
      socket?.close();
    };
  }, [id, found, over, cache]);
  return { ...query, play: query.data, live };
}
