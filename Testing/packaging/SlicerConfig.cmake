# Stands for a build of 3D Slicer as far as packaging a scripted extension asks for one: Slicer's and CTK's own CMake files, without their libraries.
# The SlicerConfig.cmake and UseSlicer.cmake of a real build come out of hours of compiling.
foreach(source IN ITEMS SLICER_SOURCE CTK_SOURCE)
  if(NOT IS_DIRECTORY "${${source}}/CMake")
    message(FATAL_ERROR "${source} must be a checkout with a folder CMake, but is '${${source}}'.")
  endif()
endforeach()
set(CTK_CMAKE_DIR "${CTK_SOURCE}/CMake")
list(PREPEND CMAKE_MODULE_PATH "${SLICER_SOURCE}/CMake" "${SLICER_SOURCE}/Extensions/CMake" "${CTK_CMAKE_DIR}" "${CMAKE_CURRENT_LIST_DIR}")

macro(mark_as_superbuild)  # passes variables on to external projects; a scripted extension has none
endmacro()

# What a build knows of itself; the package's name carries it.
set(Slicer_MAIN_PROJECT SlicerApp)
set(SlicerApp_APPLICATION_NAME Slicer)
set(Slicer_VERSION_MAJOR 5)
set(Slicer_VERSION_MINOR 12)
set(Slicer_REVISION 0)
set(Slicer_OS ${CMAKE_SYSTEM_NAME})
set(Slicer_ARCHITECTURE ${CMAKE_SYSTEM_PROCESSOR})
set(Slicer_CMAKE_DIR "${SLICER_SOURCE}/CMake")
set(Slicer_EXTENSIONS_CMAKE_DIR "${SLICER_SOURCE}/Extensions/CMake")
set(Slicer_WC_ROOT "https://github.com/Slicer/Slicer")
set(Slicer_USE_PYTHONQT ON)
include(SlicerDirectories)

set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${SLICER_SOURCE}/CMake/SlicerExtensionGenerateConfig.cmake")
set(Slicer_EXTENSION_CPACK "${SLICER_SOURCE}/CMake/SlicerExtensionCPack.cmake")
