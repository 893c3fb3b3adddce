// Who is signed in.
import { useQuery } from "@tanstack/react-query";
import { useSyncExternalStore } from "react";
import { type Me, ApiError, quietly } from "../api/client";
import * as ask from "./ask";
import * as online from "./online";

async function whoAmI(): Promise<Me | null> {
  try {
    return await quietly<Me>("GET", "/api/auth/me");
  } catch (error) {
    if (error instanceof ApiError && (error.status === 401 || error.status === 403)) return null;
    throw error;
  }
}

/** The signed-in user; null for nobody, undefined while it is not known. */
export function useMe(): Me | null | undefined {
  return useQuery({ queryKey: ["me"], queryFn: whoAmI, staleTime: 5 * 60_000 }).data;
}

export const isAdministrator = (me: Me | null | undefined) => me?.role === "administrator";

/** Whether a call waits for somebody to sign in again. */
export const useAsking = () => useSyncExternalStore(ask.subscribe, ask.asking);

/** Whether labd cannot be reached. */
export const useAway = () => useSyncExternalStore(online.subscribe, online.isAway);
