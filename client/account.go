package client

import (
	"context"
	"net/http"
	"net/url"

	"sandlot/api"
)

// NewToken makes an access token.
func (c *Client) NewToken(ctx context.Context, req api.CreateToken) (api.OAuthToken, error) {
	return call[api.OAuthToken](ctx, c, http.MethodPost, "/oauth/tokens", req)
}

// Tokens lists the user's access tokens, without their secrets.
func (c *Client) Tokens(ctx context.Context) ([]api.OAuthToken, error) {
	return call[[]api.OAuthToken](ctx, c, http.MethodGet, "/oauth/tokens", nil)
}

// RevokeToken ends an access token by its id.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodDelete, "/oauth/tokens/"+url.PathEscape(id), nil, nil)
}

// SigninURL makes an address that signs a browser in, once.
func (c *Client) SigninURL(ctx context.Context) (api.SigninURL, error) {
	return call[api.SigninURL](ctx, c, http.MethodPost, "/auth/signin-url", nil)
}

// SetPreferences changes what the user prefers.
func (c *Client) SetPreferences(ctx context.Context, p api.Preferences) (api.Me, error) {
	return call[api.Me](ctx, c, http.MethodPatch, "/account/preferences", p)
}

// Plan tells what the user may have, and has.
func (c *Client) Plan(ctx context.Context) (api.UserPlan, error) {
	return call[api.UserPlan](ctx, c, http.MethodGet, "/account/plan", nil)
}
