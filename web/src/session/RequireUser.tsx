// Pages of somebody: nobody is sent to sign in, and comes back here.
import type { ReactNode } from "react";
import { Redirect, useLocation, useSearch } from "wouter";
import { useMe } from "./useSession";

export function RequireUser({ children }: { children: ReactNode }) {
  const me = useMe();
  const [path] = useLocation();
  const search = useSearch();
  if (me === undefined) return null;
  if (me === null) return <Redirect to={`/login?next=${encodeURIComponent(path + (search && `?${search}`))}`} replace />;
  return children;
}
