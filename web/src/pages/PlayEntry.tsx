// One address for a play through all its life: while it starts the loading
// screen is shown, then the play page.
import { Suspense, lazy } from "react";
import { usePlay } from "../api/events";
import { Failure, Page } from "../ui";

const PlayPage = lazy(() => import("../play/PlayPage"));

export default function PlayEntry({ id }: { id: string }) {
  const { play, error, refetch, live } = usePlay(id);
  if (!play) return error ? <Page title="Play" heading={null}><Failure error={error} retry={() => void refetch()} /></Page> : null;
  return <Suspense><PlayPage play={play} live={live} /></Suspense>;
}
