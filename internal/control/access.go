package control

import (
	"slices"
	"strings"

	"sandlot/api"
	"sandlot/internal/manifest"
)

// access is what a user may do with a playground. The owner may do everything,
// whatever the lists say: else nobody could mend them. So may administrators.
func access(user api.Me, owner string, lists *manifest.AccessControl) api.UserAccess {
	if owner != "" && owner == user.ID || user.Administrator() {
		return api.UserAccess{CanList: true, CanRead: true, CanStart: true}
	}
	if lists == nil {
		return api.UserAccess{}
	}
	return api.UserAccess{
		CanList: admits(lists.CanList, user), CanRead: admits(lists.CanRead, user), CanStart: admits(lists.CanStart, user),
	}
}

// admits tells whether a list names a user who is not the owner. Principals of
// the form student:<training> are nobody yet.
func admits(principals []string, user api.Me) bool {
	return slices.ContainsFunc(principals, func(p string) bool {
		if id, ok := strings.CutPrefix(p, "user:"); ok {
			return user.ID != "" && id == user.ID
		}
		return p == "anyone" || p == "authenticated" && user.ID != ""
	})
}
