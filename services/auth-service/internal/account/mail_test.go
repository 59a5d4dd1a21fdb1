package account_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
)

func TestMailTokensVerifyOnlyTheirOwn(t *testing.T) {
	t.Parallel()
	tokens := account.NewMailTokens([]byte("a key"))
	request := uuid.New()
	token := tokens.Token(account.PasswordReset, request)
	verified, err := tokens.Verify(account.PasswordReset, token)
	require.NoError(t, err)
	require.Equal(t, request, verified)
	require.Equal(t, token, tokens.Token(account.PasswordReset, request), "an unstored token must be reproducible")

	other := tokens.Token(account.PasswordReset, uuid.New())
	for _, tt := range []struct {
		name, token string
		tokens      account.MailTokens
		kind        account.MailKind
	}{
		{"OfAnotherKind", token, tokens, account.EmailVerification},
		{"OfAnotherKey", token, account.NewMailTokens([]byte("another key")), account.PasswordReset},
		{"OfAnotherRequest", other[:20] + token[20:], tokens, account.PasswordReset},
		{"Empty", "", tokens, account.PasswordReset},
		{"Truncated", token[:len(token)-1], tokens, account.PasswordReset},
		{"Longer", token + "AAAA", tokens, account.PasswordReset},
		{"NotBase64", strings.Repeat("!", len(token)), tokens, account.PasswordReset},
		{"OnlyTheRequestID", request.String(), tokens, account.PasswordReset},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := tt.tokens.Verify(tt.kind, tt.token)
			requireField(t, "token", err)
		})
	}
}
