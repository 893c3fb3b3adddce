// Parts of the page that come when they are needed, and are shown at once if
// they have come: a part that React waits for, however shortly, it shows no
// sooner than 300 ms after what stood in for it.
import { type ComponentType, lazy, useState } from "react";

type Chunk<P extends object> = ComponentType<P> & {
  /** Gets it, and runs its code, for somebody who may need it soon. */
  ready: () => Promise<void>;
};

/** What load gets, as a component; put it below a Suspense. */
export function chunk<P extends object>(load: () => Promise<{ default: ComponentType<P> }>): Chunk<P> {
  let come: ComponentType<P> | undefined;
  const get = async () => {
    const module = await load();
    come = module.default;
    return module;
  };
  const Awaited = lazy(get);
  function Part(props: P) {
    // What it began with it stays: another one would lose its state.
    const [It] = useState<ComponentType<P>>(() => come ?? (Awaited as unknown as ComponentType<P>));
    return <It {...props} />;
  }
  return Object.assign(Part, {
    ready: async () => {
      await get().catch(() => {}); // who needs it will be told
    },
  });
}
