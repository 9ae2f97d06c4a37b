"""Notifications outside the page: channels, the outbox, what users set and silenced, outages."""

import alerts.models
import alerts.validators
import django.core.validators
import django.db.models.deletion
import exchanges.validators
import livermore.fields
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('alerts', '0005_alert_record'),
        ('auth', '0012_alter_user_first_name_max_length'),
        ('exchanges', '0007_event_rights'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='DeliveryCursor',
            fields=[
                ('exchange', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='delivery_cursor', serialize=False, to='exchanges.exchange')),
                ('number', models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name='PushKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('private', livermore.fields.EncryptedTextField(help_text='PEM. Browsers that subscribed know its public half: a new one ends all their subscriptions.')),
            ],
        ),
        migrations.CreateModel(
            name='NotificationChannel',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('discord', 'Discord'), ('telegram', 'Telegram'), ('email', 'E-mail'), ('webhook', 'Webhook'), ('other', 'Another service'), ('push', 'This browser')], max_length=8)),
                ('name', models.CharField(max_length=80)),
                ('url', livermore.fields.EncryptedTextField(help_text='An Apprise URL, or the push subscription as JSON. Stored encrypted, never shown again.')),
                ('service', models.CharField(blank=True, help_text='What the URL leads to, without anything secret.', max_length=80)),
                ('digest', models.CharField(help_text='Keyed hash of the URL, to find it again.', max_length=64)),
                ('enabled', models.BooleanField(default=True)),
                ('timeframes', models.JSONField(default=alerts.models.default_told_timeframes, validators=[alerts.validators.timeframes])),
                ('mine_only', models.BooleanField(default=False, help_text='Only symbols that the user holds or added.', verbose_name='mine only')),
                ('created_at', models.BigIntegerField()),
                ('hold_until', models.BigIntegerField(default=0, help_text='Nothing goes out before: a failure is waited out.')),
                ('last_sent_at', models.BigIntegerField(null=True)),
                ('last_error', models.CharField(blank=True, max_length=300)),
                ('last_error_at', models.BigIntegerField(null=True)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='notification_channels', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['pk'],
            },
        ),
        migrations.CreateModel(
            name='Delivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(help_text='What it tells: the uid of an alert, or a group, an outage or a test.', max_length=260)),
                ('about', models.CharField(choices=[('alert', 'alert'), ('group', 'group'), ('health', 'health'), ('test', 'test')], max_length=8)),
                ('direction', models.CharField(blank=True, max_length=4)),
                ('facts', models.JSONField(default=list, help_text='The alerts it tells of, as the message needs them.')),
                ('title', models.CharField(max_length=200)),
                ('body', models.TextField()),
                ('path', models.CharField(help_text='Of the page about it.', max_length=400)),
                ('silent', models.BooleanField(default=False)),
                ('closed_at', models.BigIntegerField(help_text='When the (first) candle closed.')),
                ('created_at', models.BigIntegerField()),
                ('due_at', models.BigIntegerField(help_text='Not before.')),
                ('expires_at', models.BigIntegerField(help_text='Not after: nobody wants to be told of it then.')),
                ('state', models.CharField(choices=[('waiting', 'waiting'), ('sending', 'being sent'), ('sent', 'sent'), ('failed', 'failed'), ('expired', 'too late')], default='waiting', max_length=8)),
                ('claim', models.CharField(blank=True, max_length=32)),
                ('claimed_until', models.BigIntegerField(default=0, help_text='When the claim of a worker that was killed lapses.')),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('last_error', models.CharField(blank=True, max_length=300)),
                ('sent_at', models.BigIntegerField(null=True)),
                ('exchange', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='exchanges.exchange')),
                ('channel', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='alerts.notificationchannel')),
            ],
            options={
                'verbose_name_plural': 'deliveries',
                'ordering': ['-pk'],
            },
        ),
        migrations.CreateModel(
            name='NotificationSettings',
            fields=[
                ('user', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='notification_settings', serialize=False, to=settings.AUTH_USER_MODEL)),
                ('pages', models.BooleanField(default=False, help_text='Open pages notify and sound, where their browser was told to.', verbose_name='open pages')),
                ('health', models.BooleanField(default=True, help_text='One message when an exchange goes dark, one when it is back.', verbose_name='outages')),
                ('quiet_from', models.PositiveSmallIntegerField(blank=True, help_text='Minutes of the day.', null=True, validators=[django.core.validators.MaxValueValidator(1439)])),
                ('quiet_to', models.PositiveSmallIntegerField(blank=True, null=True, validators=[django.core.validators.MaxValueValidator(1439)])),
                ('zone', models.CharField(blank=True, help_text='Of the quiet hours, where none is set for the pages.', max_length=64, validators=[exchanges.validators.time_zone])),
                ('group_from', models.PositiveSmallIntegerField(default=5, help_text='From so many symbols of one exchange going one way within a minute on, one message for all of them.', validators=[django.core.validators.MinValueValidator(2), django.core.validators.MaxValueValidator(100)])),
            ],
            options={
                'verbose_name_plural': 'notification settings',
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('quiet_from', None), ('quiet_to', None)), models.Q(('quiet_from__isnull', False), ('quiet_to__isnull', False)), _connector='OR'), name='quiet_hours_begin_and_end')],
            },
        ),
        migrations.CreateModel(
            name='Outage',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('began_at', models.BigIntegerField()),
                ('reason', models.CharField(blank=True, max_length=300)),
                ('told_at', models.BigIntegerField(null=True)),
                ('ended_at', models.BigIntegerField(null=True)),
                ('inhibited', models.PositiveIntegerField(default=0, help_text='Alerts that were not told because of it.')),
                ('exchange', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='outages', to='exchanges.exchange')),
            ],
            options={
                'ordering': ['-began_at'],
            },
        ),
        migrations.CreateModel(
            name='RepeatPolicy',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('repeat', models.CharField(choices=[('stage', 'once until the stage changes'), ('every', 'every alert'), ('hour', 'at most once an hour'), ('day', 'at most once a day'), ('never', 'not at all')], default='stage', max_length=8)),
                ('rule', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='repeat_policies', to='alerts.alertrule')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='repeat_policies', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name_plural': 'repeat policies',
            },
        ),
        migrations.CreateModel(
            name='Silence',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('ack', 'acknowledged'), ('snooze', 'snoozed')], max_length=6)),
                ('symbol', models.CharField(max_length=80)),
                ('timeframe', models.CharField(blank=True, help_text='Empty: all of them.', max_length=4)),
                ('stage', models.CharField(blank=True, help_text='Of an acknowledged series: while it lasts.', max_length=12)),
                ('candle_time', models.BigIntegerField(default=0)),
                ('until', models.BigIntegerField(help_text='Of a snooze.', null=True)),
                ('created_at', models.BigIntegerField()),
                ('exchange', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='exchanges.exchange')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='silences', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['-created_at'],
            },
        ),
        migrations.CreateModel(
            name='Told',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('symbol', models.CharField(max_length=80)),
                ('timeframe', models.CharField(max_length=4)),
                ('stage', models.CharField(max_length=12)),
                ('candle_time', models.BigIntegerField()),
                ('at', models.BigIntegerField()),
                ('exchange', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='exchanges.exchange')),
                ('rule', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='alerts.alertrule')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name_plural': 'told',
            },
        ),
        migrations.AddConstraint(
            model_name='notificationchannel',
            constraint=models.UniqueConstraint(fields=('user', 'digest'), name='one_channel_a_user_and_url'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('state__in', ['waiting', 'sending'])), fields=['due_at'], name='delivery_open'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(fields=['created_at'], name='alerts_deli_created_fc9d15_idx'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.UniqueConstraint(fields=('channel', 'key'), name='one_delivery_a_channel_and_key'),
        ),
        migrations.AddConstraint(
            model_name='outage',
            constraint=models.UniqueConstraint(condition=models.Q(('ended_at', None)), fields=('exchange',), name='one_open_outage_an_exchange'),
        ),
        migrations.AddConstraint(
            model_name='repeatpolicy',
            constraint=models.UniqueConstraint(fields=('user', 'rule'), name='one_repeat_policy_a_rule'),
        ),
        migrations.AddConstraint(
            model_name='silence',
            constraint=models.UniqueConstraint(fields=('user', 'kind', 'exchange', 'symbol', 'timeframe'), name='one_silence_a_user_and_series'),
        ),
        migrations.AddConstraint(
            model_name='told',
            constraint=models.UniqueConstraint(fields=('user', 'rule', 'exchange', 'symbol', 'timeframe'), name='one_told_a_user_and_series'),
        ),
    ]
