import { Page } from "../ui";

export default function Landing({ name }: { name: string }) {
  return <Page title={name}>…</Page>;
}
