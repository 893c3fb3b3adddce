// One address for a play through all its life: the loading screen while it
// starts, and when it has failed or stands still; else the play page.
import { Suspense, useEffect, useRef, useState } from "react";
import { Link } from "wouter";
import { usePlay } from "../api/events";
import { Button, Failure, Page, Skeleton } from "../ui";
import { chunk } from "../ui/chunk";
import { Starting } from "./Starting";
import { phaseOf } from "./starting";

const PlayPage = chunk(() => import("../play/PlayPage"));

export default function PlayEntry({ id }: { id: string }) {
  const { play, error, refetch, live } = usePlay(id);
  // Who was inside stays inside while tasks run again, or another machine boots.
  const [inside, setInside] = useState(() => sessionStorage.getItem(`inside-${id}`) === "yes");
  const enter = () => {
    sessionStorage.setItem(`inside-${id}`, "yes");
    setInside(true);
  };
  const known = useRef(play !== undefined).current;
  useEffect(() => {
    // Whoever has just pressed start sees the loading screen first.
    const timer = setTimeout(() => void PlayPage.ready(), known ? 500 : 0);
    return () => clearTimeout(timer);
  }, [known]);
  if (!play) {
    return (
      <Page title="Play" heading={null} narrow>
        {error ? <Failure error={error} retry={() => void refetch()} actions={<Button size="small" asChild><Link href="/plays">My plays</Link></Button>} /> : <Skeleton height={260} />}
      </Page>
    );
  }
  const phase = phaseOf(play);
  const shown = phase === "ready" || (inside && (phase === "tasks" || phase === "task-failed"));
  if (!shown) return <div style={{ overflow: "auto", flex: 1 }}><Starting play={play} live={live} enter={enter} /></div>;
  return <Suspense fallback={<Page title={play.title} heading={null}><Skeleton height={300} /></Page>}><PlayPage play={play} live={live} /></Suspense>;
}
