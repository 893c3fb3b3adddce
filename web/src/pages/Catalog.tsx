import { Page } from "../ui";

export function Catalog() {
  return <Page title="Catalog">…</Page>;
}
