# A build tree has a launcher that starts Slicer with the extension; the package does not hold it.
set(CTKAppLauncher_FOUND TRUE)
function(ctkAppLauncherConfigureForExecutable)
endfunction()
