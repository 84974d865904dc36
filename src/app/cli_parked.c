#include "app/cli_parked.h"

#include "settings/nearest.h"

#include <string.h>

int cli_parked_word(struct cli *c, const char *word, struct err *err)
{
    static const char *const verbs[] = {"list", "show", "retry", "skip"};
    struct nearest near = nearest_to(word);
    bool known = word[0] != '\0' && strspn(word, "0123456789") == strlen(word) && strlen(word) <= 9;

    if (c->words.count == 0) {
        known = false;
        for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
            nearest_try(&near, verbs[i]);
            known |= strcmp(word, verbs[i]) == 0;
        }
        if (!known)
            return err_set(err, ERR_USAGE,
                           "parked does list, show, retry or skip, not \"%.40s\"%s%s", word,
                           nearest_word(&near) == NULL ? "" : "; did you mean ",
                           nearest_word(&near) == NULL ? "" : nearest_word(&near));
    }
    if (!known)
        return err_set(err, ERR_USAGE, "parked %s takes numbers of lanes, not \"%.40s\"",
                       c->words.text[0], word);
    if (c->words.count == CLI_TEXTS_MAX)
        return err_set(err, ERR_USAGE, "parked takes %d lanes at most; there are --topic and --all",
                       CLI_TEXTS_MAX - 1);
    c->words.text[c->words.count++] = word;
    return 0;
}

int cli_parked_check(const struct cli *c, struct err *err)
{
    const char *verb = c->words.count > 0 ? c->words.text[0] : "";
    bool acts = strcmp(verb, "retry") == 0 || strcmp(verb, "skip") == 0;
    bool chooses = c->key != NULL || c->of_topic != NULL || c->error != NULL;
    size_t lanes = c->words.count > 0 ? c->words.count - 1 : 0;

    if (verb[0] == '\0')
        return err_set(err, ERR_USAGE, "parked does what: list, show, retry or skip?");
    if (!acts && (chooses || c->all || c->yes || c->dry_run))
        return err_set(err, ERR_USAGE,
                       "--key, --topic, --error, --all, --yes and --dry-run belong to parked retry "
                       "and skip");
    if (c->json && strcmp(verb, "list") != 0)
        return err_set(err, ERR_USAGE, "--json belongs to parked list");
    if (c->reason != NULL && strcmp(verb, "skip") != 0)
        return err_set(err, ERR_USAGE, "--reason belongs to parked skip");
    if (strcmp(verb, "list") == 0 && lanes > 0)
        return err_set(err, ERR_USAGE, "parked list takes no lane; parked show does");
    if (strcmp(verb, "show") == 0 && lanes != 1)
        return err_set(err, ERR_USAGE, "parked show takes one lane's number");
    if (acts && (lanes > 0) + chooses + c->all != 1)
        return err_set(err, ERR_USAGE,
                       "parked %s takes lanes' numbers, or --key, --topic and --error, or --all",
                       verb);
    return 0;
}
