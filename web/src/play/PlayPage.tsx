// The page of a running play.
import { Page } from "../ui";
import type { Play } from "../api/client";

export default function PlayPage({ play }: { play: Play; live: boolean }) {
  return <Page title={play.title}>…</Page>;
}
