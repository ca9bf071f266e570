/* version.h - which Troupe this is. CMakeLists.txt's project version is defined as TR_VERSION. */
#ifndef TR_LAUNCH_VERSION_H
#define TR_LAUNCH_VERSION_H

#ifndef TR_VERSION
#    define TR_VERSION "unknown"
#endif

#endif
