echo Müller
