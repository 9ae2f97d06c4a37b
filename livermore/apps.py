from django.apps import AppConfig


class LivermoreConfig(AppConfig):
    name = "livermore"

    def ready(self) -> None:
        from livermore import querytimes

        querytimes.watch()
