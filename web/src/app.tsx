// Addresses and what is shown at them. Pages are chunks of their own; the
// catalog, where most people arrive, comes with the first load.
import { Compass } from "lucide-react";
import { type ReactNode, Suspense } from "react";
import { Link, Route, Switch } from "wouter";
import { Catalog } from "./pages/Catalog";
import { ConfirmPage, JoinPage, SignInPage, SigninLinkPage } from "./pages/SignInPage";
import { Landing, PlayEntry } from "./pages/chunks";
import { RequireUser } from "./session/RequireUser";
import { Button, Empty, Page, Skeleton } from "./ui";
import { Layout } from "./ui/Layout";
import { chunk } from "./ui/chunk";

const Account = chunk(() => import("./pages/Account"));
const Admin = chunk(() => import("./pages/Admin"));
const NewPlayground = chunk(async () => ({ default: (await import("./pages/Editor")).NewPlayground }));
const EditPlayground = chunk(async () => ({ default: (await import("./pages/Editor")).EditPlayground }));
const Plays = chunk(() => import("./pages/Plays"));

export function App() {
  return (
    <Switch>
      <Route path="/"><Shown><Catalog /></Shown></Route>
      <Route path="/playgrounds/:name">{({ name }) => <Shown><Landing key={name} name={name} /></Shown>}</Route>
      <Route path="/playgrounds/:name/edit">{({ name }) => <Shown user><EditPlayground key={name} name={name} /></Shown>}</Route>
      <Route path="/new"><Shown user><NewPlayground /></Shown></Route>
      <Route path="/plays/:id">{({ id }) => <Shown user full><PlayEntry key={id} id={id} /></Shown>}</Route>
      <Route path="/plays"><Shown user><Plays /></Shown></Route>
      <Route path="/account"><Shown user><Account /></Shown></Route>
      <Route path="/admin"><Shown user><Admin part="" /></Shown></Route>
      <Route path="/admin/:part">{({ part }) => <Shown user><Admin part={part} /></Shown>}</Route>
      <Route path="/login"><Shown bare><SignInPage /></Shown></Route>
      <Route path="/join/:token">{({ token }) => <Shown bare><JoinPage token={token} /></Shown>}</Route>
      <Route path="/signin/:token">{({ token }) => <Shown bare><SigninLinkPage token={token} /></Shown>}</Route>
      <Route path="/cli-auth/:code">{({ code }) => <Shown bare user><ConfirmPage code={code} /></Shown>}</Route>
      <Route><Shown><Missing /></Shown></Route>
    </Switch>
  );
}

function Shown({ user, full, bare, children }: { user?: boolean; full?: boolean; bare?: boolean; children: ReactNode }) {
  return (
    <Layout full={full} bare={bare}>
      <Suspense fallback={<Waiting />}>{user ? <RequireUser>{children}</RequireUser> : children}</Suspense>
    </Layout>
  );
}

function Waiting() {
  return (
    <Page title="" heading={null}>
      <Skeleton height={30} width={260} />
      <br />
      <Skeleton height={220} />
    </Page>
  );
}

function Missing() {
  return (
    <Page title="Nothing here" heading={null}>
      <Empty
        icon={<Compass size={34} aria-hidden />}
        title="There is nothing at this address"
        actions={<Button look="primary" asChild><Link href="/">Go to the catalog</Link></Button>}
      >
        The link may be old, or what it led to has been removed.
      </Empty>
    </Page>
  );
}
