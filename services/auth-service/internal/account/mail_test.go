package account_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
)

func TestMailTokens(t *testing.T) {
	t.Parallel()
	tokens := account.NewMailTokens([]byte("a key"))
	request := uuid.New()
	token := tokens.Token(account.PasswordReset, request)
	read, err := tokens.Read(account.PasswordReset, token)
	require.NoError(t, err)
	require.Equal(t, request, read)
	require.Equal(t, token, tokens.Token(account.PasswordReset, request), "what is stored nowhere has to come out the same")

	for _, tt := range []struct {
		name, token string
		tokens      account.MailTokens
		kind        account.MailKind
	}{
		{"OfAnotherKind", token, tokens, account.EmailVerification},
		{"OfAnotherKey", token, account.NewMailTokens([]byte("another key")), account.PasswordReset},
		{"OfAnotherRequest", tokens.Token(account.PasswordReset, uuid.New())[:20] + token[20:], tokens, account.PasswordReset},
		{"Empty", "", tokens, account.PasswordReset},
		{"Cut", token[:len(token)-1], tokens, account.PasswordReset},
		{"Longer", token + "AAAA", tokens, account.PasswordReset},
		{"NoBase64", strings.Repeat("!", len(token)), tokens, account.PasswordReset},
		{"OnlyTheRequest", request.String(), tokens, account.PasswordReset},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := tt.tokens.Read(tt.kind, tt.token)
			requireField(t, "token", err)
		})
	}
}
