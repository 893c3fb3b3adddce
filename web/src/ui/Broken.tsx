// The last resort: a fault of the page itself is a sentence with a way on, never
// an empty window. After an upgrade of labd the old page's chunks are gone, and
// loading it again is all that is needed. alone: there is no catalog to go to.
import { Component, type ReactNode } from "react";
import { Button, Failure, ui } from ".";

export class Broken extends Component<{ alone?: boolean; children: ReactNode }, { error: unknown }> {
  override state = { error: null as unknown };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override render() {
    if (this.state.error === null) return this.props.children;
    return (
      <main className={ui["page"]}>
        <Failure
          error={new Error(`this page failed: ${String(this.state.error)}`)}
          actions={
            <>
              <Button size="small" onClick={() => location.reload()}>Load it again</Button>
              {!this.props.alone && <Button size="small" asChild><a href="/">Go to the catalog</a></Button>}
            </>
          }
        />
      </main>
    );
  }
}
