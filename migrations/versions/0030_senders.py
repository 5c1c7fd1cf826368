"""senders: who said something in a chat is kept until it is answered"""

from collections.abc import Sequence

from alembic import op

revision: str = '0030'
down_revision: str | Sequence[str] | None = '0029'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NAME = 'ck_messages_forgotten'


def upgrade() -> None:
    op.execute("UPDATE messages SET sender_id = '', chat_id = '' WHERE state <> 'received'")
    _check("state = 'received' OR (reply_token IS NULL AND sender_id = '' AND chat_id = '')")


def downgrade() -> None:
    _check("state = 'received' OR reply_token IS NULL")


def _check(condition: str) -> None:
    with op.batch_alter_table('messages') as batch:
        batch.drop_constraint(op.f(NAME), type_='check')
        batch.create_check_constraint(op.f(NAME), condition)
